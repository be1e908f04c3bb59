"""The models on offer, with the schemas of their inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

#: A property of an input, in the words of JSON Schema.
Property = dict[str, Any]

ACCOUNT: Final = "emulated"
_CREATED_AT: Final = "2024-11-20T10:00:00.000000Z"
_COG_VERSION: Final = "0.13.6"


@dataclass(frozen=True, kw_only=True)
class Model:
    """`choices` are the named values that a property may have; the schema keeps them apart, as cog does."""

    owner: str
    name: str
    description: str
    version_id: str
    is_official: bool
    produces: Literal["video", "images"]
    properties: Mapping[str, Property]
    required: tuple[str, ...]
    choices: Mapping[str, tuple[str, ...]]

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def shown_version(self) -> str:
        """Versions of official models are nobody's business."""
        return "hidden" if self.is_official else self.version_id


def model_document(model: Model, base_url: str) -> dict[str, object]:
    return {
        "url": f"{base_url}/{model.full_name}",
        "owner": model.owner,
        "name": model.name,
        "description": model.description,
        "visibility": "public",
        "is_official": model.is_official,
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "run_count": 0,
        "cover_image_url": None,
        "default_example": None,
        "latest_version": version_document(model),
    }


def version_document(model: Model) -> dict[str, object]:
    return {
        "id": model.version_id,
        "created_at": _CREATED_AT,
        "cog_version": _COG_VERSION,
        "openapi_schema": _openapi_schema(model),
    }


def _openapi_schema(model: Model) -> dict[str, object]:
    uri: Property = {"type": "string", "format": "uri"}
    output = uri if model.produces == "video" else {"type": "array", "items": uri}
    schemas: dict[str, object] = {
        "Input": {
            "type": "object",
            "title": "Input",
            "required": list(model.required),
            "properties": {
                name: {**_referring(name, one, model), "x-order": order}
                for order, (name, one) in enumerate(model.properties.items())
            },
        },
        "Output": {**output, "title": "Output"},
    }
    for name, values in model.choices.items():
        schemas[name] = {
            "type": "string",
            "title": name,
            "description": "An enumeration.",
            "enum": list(values),
        }
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {},
        "components": {"schemas": schemas},
    }


def _referring(name: str, one: Property, model: Model) -> Property:
    if name in model.choices:
        return {**one, "allOf": [{"$ref": f"#/components/schemas/{name}"}]}
    return {**one, "title": name.replace("_", " ").title()}


def _text(description: str) -> Property:
    return {"type": "string", "description": description}


def _uri(description: str) -> Property:
    return {"type": "string", "format": "uri", "description": description}


def _whole(description: str, least: int, most: int, default: int) -> Property:
    bounds = {"minimum": least, "maximum": most}
    return {"type": "integer", **bounds, "default": default, "description": description}


def _switch(description: str, *, default: bool) -> Property:
    return {"type": "boolean", "default": default, "description": description}


def _choice(description: str, default: str) -> Property:
    return {"default": default, "description": description}


_SEED: Final[Property] = {"type": "integer", "nullable": True, "description": "Random seed."}

_MODELS: Final = (
    Model(
        owner="minimax",
        name="video-01",
        description="Generate 6s videos with prompts or images.",
        version_id="c8bcc4751328608bb75043b3af7bed4eabcf1a6c0a478d50a4cf57fa04bd5101",
        is_official=True,
        produces="video",
        properties={
            "prompt": _text("Text prompt for generation"),
            "prompt_optimizer": _switch("Use prompt optimizer", default=True),
            "first_frame_image": _uri("First frame image for video generation."),
            "subject_reference": _uri("An optional character reference image."),
        },
        required=("prompt",),
        choices={},
    ),
    Model(
        owner="black-forest-labs",
        name="flux-schnell",
        description="The fastest image generation model tailored for local development and personal use",
        version_id="c846a69991daf4c0e5d016514849d14ee5b2e6846ce6b9d6f21369e564cfe51e",
        is_official=True,
        produces="images",
        properties={
            "prompt": _text("Prompt for generated image"),
            "aspect_ratio": _choice("Aspect ratio for the generated image", "1:1"),
            "num_outputs": _whole("Number of outputs to generate", 1, 4, 1),
            "num_inference_steps": _whole("Number of denoising steps.", 1, 4, 4),
            "seed": _SEED,
            "output_format": _choice("Format of the output images", "webp"),
            "output_quality": _whole("Quality when saving the output images", 0, 100, 80),
            "disable_safety_checker": _switch("Disable safety checker for generated images.", default=False),
            "go_fast": _switch("Run faster predictions.", default=True),
        },
        required=("prompt",),
        choices={
            "aspect_ratio": ("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"),
            "output_format": ("webp", "jpg", "png"),
        },
    ),
    Model(
        owner="stability-ai",
        name="stable-video-diffusion",
        description="SVD is a research-only image to video model",
        version_id="3f0457e4619daac51203dedb472816fd4af51f3149fa7a9e0b5ffcf1b8172438",
        is_official=False,
        produces="video",
        properties={
            "input_image": _uri("Input Image"),
            "video_length": _choice("How many frames", "14_frames_with_svd"),
            "frames_per_second": _whole("Frames per second", 5, 30, 6),
            "motion_bucket_id": _whole("Increase overall motion in the generated video", 1, 255, 127),
            "cond_aug": {"type": "number", "default": 0.02, "description": "Noise added to the input image"},
            "seed": _SEED,
        },
        required=("input_image",),
        choices={"video_length": ("14_frames_with_svd", "25_frames_with_svd_xt")},
    ),
)

MODELS: Final = {model.full_name: model for model in _MODELS}

#: Deployments of the token's account.
DEPLOYMENTS: Final = {
    f"{ACCOUNT}/video": MODELS["stability-ai/stable-video-diffusion"],
    f"{ACCOUNT}/images": MODELS["black-forest-labs/flux-schnell"],
}


def find_by_version(version: str) -> Model | None:
    """The model that `owner/name` (of official models only), `owner/name:<id>` or `<id>` means."""
    name, _, version_id = version.rpartition(":")
    if name:
        model = MODELS.get(name)
        return model if model and model.version_id == version_id else None
    if "/" in version:
        model = MODELS.get(version)
        return model if model and model.is_official else None
    return next((model for model in _MODELS if model.version_id == version), None)
