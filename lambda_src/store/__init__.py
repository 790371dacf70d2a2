"""Storage: ChatKit's Store and the turn ledger on DynamoDB, PostgreSQL and in memory. Knows no HTTP, no model."""
