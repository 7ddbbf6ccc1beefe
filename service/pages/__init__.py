"""The pages of the service, for people."""

from service.pages import categories, changes, classify, health, login, look, review
from service.pages.parts import page_router

router = page_router()
for page in (look, classify, review, categories, changes, health, login):
    router.include_router(page.router)
