"""`make prove`: deploys a stage to AWS, verifies it and takes it down again."""
