"""Files of a conversation: uploads and generated images, in the bucket, behind short-lived URLs. Knows no model.

media.py says which files are taken (pure), s3.py keeps them, linked_store.py puts live URLs on what leaves the store.
"""
