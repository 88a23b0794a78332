"""Objective-C from Python, through the emulation's own library: for tests of the emulation itself."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

from milane import _testing


class NSExceptionError(Exception):
    """An NSException, as "name: reason"."""


class NSErrorError(Exception):
    """A method said NO; ``domain``, ``code`` and ``text`` are its NSError's."""

    def __init__(self, domain: str, code: int, text: str) -> None:
        super().__init__(f"{domain} {code}: {text}")
        self.domain, self.code, self.text = domain, code, text


class Runtime:
    """Messages to the emulated classes; everything is an address or an integer."""

    def __init__(self) -> None:
        self.library = _testing.library()
        self._send = self.library.milane_emulated_send
        self._send.restype = ctypes.c_ssize_t
        self._send.argtypes = [
            *(ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_ssize_t)),
            *(ctypes.c_char_p, ctypes.c_size_t),
        ]
        lookup = self.library.milane_emulated_class
        lookup.restype, lookup.argtypes = ctypes.c_void_p, [ctypes.c_char_p]

    def cls(self, name: str) -> int:
        """A class by name as the product sees it, 0 where there is none."""
        return int(self.library.milane_emulated_class(name.encode()) or 0)

    def send(self, receiver: int | str, selector: str, *arguments: int | None) -> int:
        """The result of a message; raises what it raises."""
        target = self.cls(receiver) if isinstance(receiver, str) else receiver
        numbers = (ctypes.c_ssize_t * 9)(*(a or 0 for a in arguments))
        text = ctypes.create_string_buffer(1024)
        result = self._send(target, selector.encode(), numbers, text, len(text))
        if text.value:
            raise NSExceptionError(text.value.decode())
        return int(result)

    def yes(self, receiver: int | str, selector: str, *arguments: int | None) -> bool:
        """A BOOL: only its lowest byte is the result."""
        return bool(self.send(receiver, selector, *arguments) & 0xFF)

    def check(self, receiver: int | str, selector: str, *arguments: int | None) -> None:
        """A method that ends in `error:`; raises its NSError."""
        error = ctypes.c_void_p()
        if self.yes(receiver, selector, *arguments, ctypes.addressof(error)):
            return
        at = error.value
        assert at, "it said NO and left no NSError"
        raise NSErrorError(
            self.text(self.send(at, "domain")),
            self.send(at, "code"),
            self.text(self.send(at, "localizedDescription")),
        )

    @contextmanager
    def pool(self) -> Iterator[None]:
        """What is autoreleased inside dies at its end."""
        pool = self.send("NSAutoreleasePool", "new")
        try:
            yield
        finally:
            self.send(pool, "drain")

    # Foundation's objects and back.

    def string(self, text: str) -> int:
        raw = ctypes.create_string_buffer(text.encode())
        return self.send("NSString", "stringWithUTF8String:", ctypes.addressof(raw))

    def data(self, content: bytes) -> int:
        raw = ctypes.create_string_buffer(content, len(content) or 1)
        return self.send("NSData", "dataWithBytes:length:", ctypes.addressof(raw), len(content))

    def number(self, value: int) -> int:
        return self.send("NSNumber", "numberWithLongLong:", value)

    def array(self, items: Sequence[int]) -> int:
        made = self.send("NSMutableArray", "array")
        for item in items:
            self.send(made, "addObject:", item)
        return made

    def numbers(self, values: Sequence[int]) -> int:
        return self.array([self.number(v) for v in values])

    def dictionary(self, items: Mapping[str, int]) -> int:
        made = self.send("NSMutableDictionary", "dictionary")
        for key, value in items.items():
            self.send(made, "setObject:forKey:", value, self.string(key))
        return made

    def url(self, path: str) -> int:
        return self.send("NSURL", "fileURLWithPath:isDirectory:", self.string(path), 1)

    def text(self, string: int) -> str:
        if not string:
            return ""
        return ctypes.string_at(self.send(string, "UTF8String")).decode()

    def constant(self, symbol: str) -> int:
        """The NSString behind an exported constant."""
        return int(ctypes.c_void_p.in_dll(self.library, symbol).value or 0)

    def plain(self, value: int) -> object:
        """A property list as Python has it."""
        if self.yes(value, "isKindOfClass:", self.cls("NSString")):
            return self.text(value)
        if self.yes(value, "isKindOfClass:", self.cls("NSNumber")):
            return self.send(value, "longLongValue")
        if self.yes(value, "isKindOfClass:", self.cls("NSArray")):
            count = self.send(value, "count")
            return [self.plain(self.send(value, "objectAtIndex:", i)) for i in range(count)]
        keys = self.send(value, "allKeys")
        return {
            self.text(key): self.plain(self.send(value, "objectForKey:", key))
            for key in (
                self.send(keys, "objectAtIndex:", i) for i in range(self.send(keys, "count"))
            )
        }

    def temporary_folder(self) -> str:
        # A C function of Foundation's, not a message.
        folder = self.library.NSTemporaryDirectory
        folder.restype = ctypes.c_void_p
        return self.text(folder())


class _BlockDescriptor(ctypes.Structure):
    _fields_ = (("reserved", ctypes.c_ulong), ("size", ctypes.c_ulong))


class _BlockLiteral(ctypes.Structure):
    _fields_ = (
        ("isa", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("invoke", ctypes.c_void_p),
        ("descriptor", ctypes.c_void_p),
    )


class Block:
    """A block without captures around `call(*arguments)`."""

    # A thread may still be on its way out of a call: none is ever freed.
    _all: ClassVar[list[Block]] = []

    def __init__(
        self, library: ctypes.CDLL, call: Callable[..., None], *types: type[ctypes._SimpleCData]
    ) -> None:
        self._function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *types)(
            lambda _block, *arguments: call(*arguments)
        )
        self._descriptor = _BlockDescriptor(0, ctypes.sizeof(_BlockLiteral))
        is_global = 1 << 28  # copied and released without a trace
        kind = (ctypes.c_void_p * 32).in_dll(library, "_NSConcreteGlobalBlock")
        invoke = ctypes.cast(self._function, ctypes.c_void_p).value
        descriptor = ctypes.addressof(self._descriptor)
        self._literal = _BlockLiteral(ctypes.addressof(kind), is_global, 0, invoke, descriptor)
        self._all.append(self)

    @property
    def address(self) -> int:
        return ctypes.addressof(self._literal)
