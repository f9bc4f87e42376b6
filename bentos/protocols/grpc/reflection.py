"""Server reflection over gRPC: the services and the descriptors of their messages, for clients without a `.proto` file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.message import Message

from bentos.protocols.grpc.call import Call, Ends, Method
from bentos.protocols.grpc.status import Status
from bentos.protos import reflection_v1_pb2, reflection_v1alpha_pb2

# The two versions differ in nothing but their package.
SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
_VERSIONS = (reflection_v1_pb2, reflection_v1alpha_pb2)


class Reflection:
    """The reflection service of these services and of itself."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = sorted((*services, *SERVICES))
        self._pool = descriptor_pool.Default()

    def methods(self) -> dict[str, Method]:
        """Return the methods of both versions by path."""
        return {
            f"/{service}/ServerReflectionInfo": Method(
                messages.ServerReflectionRequest, self._answer_of(messages), Ends.WITH_CALLER
            )
            for service, messages in zip(SERVICES, _VERSIONS, strict=True)
        }

    def _answer_of(self, messages: Any) -> Any:
        def answer(request: Any, _: Call) -> Message:
            response = messages.ServerReflectionResponse(valid_host=request.host, original_request=request)
            try:
                self._fill(response, request)
            except KeyError:
                response.error_response.error_code = Status.NOT_FOUND
                response.error_response.error_message = "not found"
            return response

        return answer

    def _fill(self, response: Any, request: Any) -> None:
        """Fill in the answer to a request; raise KeyError if the requested descriptor does not exist."""
        asked = request.WhichOneof("message_request")
        if asked == "list_services":
            for name in self._services:
                response.list_services_response.service.add(name=name)
        elif asked == "all_extension_numbers_of_type":
            response.all_extension_numbers_response.base_type_name = request.all_extension_numbers_of_type
            kind = self._pool.FindMessageTypeByName(request.all_extension_numbers_of_type)
            numbers = sorted(extension.number for extension in self._pool.FindAllExtensions(kind))
            response.all_extension_numbers_response.extension_number.extend(numbers)
        else:
            self._add_file(response.file_descriptor_response, self._file(asked, request), set())

    def _file(self, asked: str | None, request: Any) -> Any:
        if asked == "file_by_filename":
            return self._pool.FindFileByName(request.file_by_filename)
        if asked == "file_containing_symbol":
            return self._file_of_symbol(request.file_containing_symbol)
        extension = request.file_containing_extension
        kind = self._pool.FindMessageTypeByName(extension.containing_type)
        return self._pool.FindExtensionByNumber(kind, extension.extension_number).file

    def _file_of_symbol(self, symbol: str) -> Any:
        """Return the file of a service, message or method; protobuf's pool does not find that of a method by itself."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            return self._pool.FindServiceByName(service).methods_by_name[method].containing_service.file

    def _add_file(self, response: Any, file: Any, seen: set[str]) -> None:
        """Add a file and all files that it imports."""
        if file.name not in seen:
            seen.add(file.name)
            response.file_descriptor_proto.append(file.serialized_pb)
            for needed in file.dependencies:
                self._add_file(response, needed, seen)
