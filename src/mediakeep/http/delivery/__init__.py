"""The bytes of an asset: the file itself, pictures of it, its thumbnail and waveform; without login while it is public.

Plain ASGI, in front of the framework: everything here is asked for far more often than all the rest.
"""

from mediakeep.http.delivery.dispatch import Delivery, image_routes, routes, send_download
from mediakeep.http.delivery.state import DeliveryState, forget, forget_all

__all__ = [
    "Delivery",
    "DeliveryState",
    "forget",
    "forget_all",
    "image_routes",
    "routes",
    "send_download",
]
