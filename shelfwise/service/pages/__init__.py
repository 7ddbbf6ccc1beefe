"""The pages of the service, for people."""

from shelfwise.service.pages import categories, changes, classify, health, login, look, review
from shelfwise.service.pages.parts import page_router

router = page_router()
for page in (look, classify, review, categories, changes, health, login):
    router.include_router(page.router)
