"""`/`, a plain page that says what this is, and `/docs`, which works without internet."""

from html import escape
from importlib.resources import files

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from mediakeep.http.base_url import base_url

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mediakeep</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 17px/1.6 system-ui, sans-serif; max-width: 44rem; margin: 12vh auto 4rem; padding: 0 1.25rem; }
  h1 { font-size: 2rem; letter-spacing: -.02em; margin: 0 0 .25rem; }
  p.lead { margin: 0 0 2rem; opacity: .8; }
  ul { padding: 0; list-style: none; }
  li { margin: .5rem 0; }
  a { color: LinkText; text-underline-offset: .15em; }
  pre { font: 14px/1.5 ui-monospace, monospace; padding: .9rem 1rem; border-radius: .5rem; overflow-x: auto;
        background: color-mix(in srgb, CanvasText 7%, Canvas); }
</style>
<h1>Mediakeep</h1>
<p class="lead">A media library and backend for people who build with generated media. It is running.</p>
<ul>
  <li><a href="/docs">The API, to read and to try</a></li>
  <li><a href="/openapi.json">Its OpenAPI description</a></li>
  <li><a href="/readyz">Whether database and storage answer</a></li>
</ul>
<p>The first account is the admin's:</p>
<pre>curl -X POST BASE/api/v2/auth/register \\
  -H 'Content-Type: application/json' \\
  -d '{"email": "you@example.com", "password": "correct horse battery"}'</pre>
</html>
"""

# The docs page starts itself with a script in the page; everything it loads is ours.
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


def install(app: FastAPI) -> None:
    """Add the page, the docs and the docs' scripts, which come with the package fastapi-offline."""
    app.mount("/docs/assets", StaticFiles(directory=str(files("fastapi_offline") / "static")))
    app.add_api_route("/", _page, include_in_schema=False)
    app.add_api_route("/docs", _docs, include_in_schema=False)


async def _page(request: Request) -> Response:
    page = _PAGE.replace("BASE", escape(base_url(request)))
    return HTMLResponse(page, headers={"Content-Security-Policy": _PAGE_POLICY})


async def _docs(request: Request) -> Response:
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=f"{request.app.title} API",
        swagger_js_url="/docs/assets/swagger-ui-bundle.js",
        swagger_css_url="/docs/assets/swagger-ui.css",
        swagger_favicon_url="/docs/assets/favicon.png",
        swagger_ui_parameters={
            "persistAuthorization": True,
            "tryItOutEnabled": True,
            "displayRequestDuration": True,
        },
    )
    page.headers["Content-Security-Policy"] = _DOCS_POLICY
    return page
