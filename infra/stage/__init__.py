"""The options of a stage in cdk.json: schema, parsing, environment, reference page."""
