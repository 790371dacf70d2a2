"""The turn ledger on DynamoDB: leases, idempotency keys, journals, quotas."""
