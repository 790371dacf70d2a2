"""The support side: requests for a person, takeover by operators, the inbox. Imported only by stages with operators."""
