"""An in-process DynamoDB that is as strict as AWS's, and the faults of the wire. Knows no store."""
