"""ONNX files that come from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from pathlib import Path


def require_self_contained(content: bytes, path: Path, remedy: str) -> None:
    """Refuse an ONNX file with tensors in other files, which could be any file on this machine.

    Args:
        content: of the file.
        path: of the file, for messages.
        remedy: what to do about such a file.

    Raises:
        UserError: such a file, or none of ONNX.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError
        raise UserError(f"{path} is no ONNX file: {first_line(error)}") from error
    if _has_external_data(model):
        raise UserError(f"{path} refers to data outside the file; {remedy}")


def _has_external_data(message: Any) -> bool:
    """Whether any tensor in an ONNX message, at any depth, is stored outside the file."""
    import onnx

    if isinstance(message, onnx.TensorProto):
        return bool(message.data_location == onnx.TensorProto.EXTERNAL)
    for field, value in message.ListFields():
        if field.message_type is not None:
            parts = [value] if hasattr(value, "ListFields") else value
            if any(_has_external_data(part) for part in parts):
                return True
    return False
