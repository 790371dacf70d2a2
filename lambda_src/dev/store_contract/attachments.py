"""The contract for attachments: metadata that belongs to one user. Knows no store."""

import pytest
from chatkit.store import NotFoundError
from chatkit.types import AttachmentUploadDescriptor, ImageAttachment
from pydantic import AnyUrl

from lambda_src.dev.store_contract.samples import (
    ANYTHING,
    AnyContext,
    AnyStore,
    ContractCase,
    file_of,
    message_of,
    thread_of,
)


class AttachmentContract(ContractCase):
    """save_attachment, load_attachment, delete_attachment."""

    async def test_an_attachment_is_loaded_as_it_was(self, store: AnyStore, ada: AnyContext) -> None:
        image = ImageAttachment(
            id="atc_1",
            name="ä.png",
            mime_type="image/png",
            preview_url=AnyUrl("https://e.org/p?x=1"),
            upload_descriptor=AttachmentUploadDescriptor(
                url=AnyUrl("https://e.org/u"), method="PUT", headers={"a": "b"}
            ),
            metadata=ANYTHING,
        )
        await store.save_attachment(attachment=image, context=ada)
        assert await store.load_attachment(attachment_id="atc_1", context=ada) == image

    async def test_a_missing_or_foreign_attachment_is_not_found(
        self, store: AnyStore, ada: AnyContext, bob: AnyContext
    ) -> None:
        await store.save_attachment(file_of(), context=ada)
        for attachment_id, who in (("atc_1", bob), ("atc_2", ada)):
            with pytest.raises(NotFoundError):
                await store.load_attachment(attachment_id, context=who)

    async def test_saving_again_replaces(self, store: AnyStore, ada: AnyContext) -> None:
        await store.save_attachment(file_of(), context=ada)
        await store.save_attachment(file_of(name="b.txt", thread_id="thr_1"), context=ada)
        assert await store.load_attachment("atc_1", context=ada) == file_of(name="b.txt", thread_id="thr_1")

    async def test_deleting_affects_only_the_users_own_attachment(
        self, store: AnyStore, ada: AnyContext, bob: AnyContext
    ) -> None:
        await store.save_attachment(file_of(), context=ada)
        await store.delete_attachment(attachment_id="atc_1", context=bob)
        assert await store.load_attachment("atc_1", context=ada) == file_of()
        await store.delete_attachment("atc_1", context=ada)
        await store.delete_attachment("atc_1", context=ada)
        with pytest.raises(NotFoundError):
            await store.load_attachment("atc_1", context=ada)

    async def test_attachments_threads_and_items_with_the_same_id_stay_separate(
        self, store: AnyStore, ada: AnyContext
    ) -> None:
        await store.save_thread(thread_of("same"), context=ada)
        await store.add_thread_item("same", message_of("same", thread_id="same"), context=ada)
        await store.save_attachment(file_of("same"), context=ada)
        await store.delete_attachment("same", context=ada)
        assert (await store.load_thread("same", context=ada)).id == "same"
        assert (await store.load_item("same", "same", context=ada)).id == "same"
