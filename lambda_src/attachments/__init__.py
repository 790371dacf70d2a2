"""Attachments: uploads and generated images, stored in S3 and read through short-lived presigned URLs. Knows no model.

file_types.py decides which files are accepted (pure), s3_files.py stores them, presigned_store.py adds presigned URLs
to the items that leave the store.
"""
