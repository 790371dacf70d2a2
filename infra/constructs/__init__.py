"""CDK constructs, one capability each."""
