"""Attachments: uploads and generated images, stored in S3 and read through short-lived presigned URLs. Knows no model.

file_types.py decides which files are accepted (pure), s3_files.py stores them, presigned_urls.py adds presigned URLs
to pictures in what is sent to the client.
"""
