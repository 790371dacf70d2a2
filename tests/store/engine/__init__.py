"""An in-process DynamoDB that is as strict as AWS's, and faults between client and service."""
