# Reads forms as two Python libraries do. Each line of the input is a boundary and a content, both in hexadecimal. Each line of the output
# has for each library `refused` or its parts, as name,filename,content in hexadecimal (a file name that is absent is `-`).
import sys
from io import BytesIO


def read_multipart(boundary, content):
    import multipart

    parts = multipart.MultipartParser(BytesIO(content), boundary, strict=True, header_limit=8, partsize_limit=1 << 20)
    return [(part.name, part.filename, part.raw) for part in parts]


def read_werkzeug(boundary, content):
    from werkzeug.sansio import multipart

    decoder = multipart.MultipartDecoder(boundary.encode())
    decoder.receive_data(content)
    decoder.receive_data(None)
    parts = []
    while True:
        event = decoder.next_event()
        if isinstance(event, multipart.Epilogue):
            return parts
        if isinstance(event, multipart.NeedData):
            raise ValueError("not whole")
        if isinstance(event, (multipart.Field, multipart.File)):
            parts.append([event.name, getattr(event, "filename", None), b""])
        elif isinstance(event, multipart.Data):
            parts[-1][2] += event.data


def shown(read, boundary, content):
    try:
        parts = read(boundary, content)
    except Exception:
        return "refused"
    word = lambda text: "-" if text is None else "=" + text.encode("utf-8", "surrogateescape").hex()
    return "parts " + " ".join(f"{word(name)},{word(file_name)},{content.hex()}" for name, file_name, content in parts)


for line in sys.stdin:
    boundary, content = (bytes.fromhex(word) for word in line.rstrip("\n").split(","))
    print("\t".join(shown(read, boundary.decode(), content) for read in (read_multipart, read_werkzeug)), flush=True)
