"""Everything that is kept: ChatKit's Store on DynamoDB, PostgreSQL and in memory. Knows no HTTP, no token, no model."""
