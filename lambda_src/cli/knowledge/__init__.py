"""`chat knowledge`: keeps an OpenAI vector store equal to a folder of documents."""
