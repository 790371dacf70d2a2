"""Files of a conversation: uploads and generated images, in the bucket, behind short-lived URLs. Knows no model.

file_types.py says which files are taken (pure), s3_files.py keeps them, presigned_store.py puts live URLs on what
leaves the store.
"""
