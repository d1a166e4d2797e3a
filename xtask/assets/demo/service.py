"""Document service: POST /analyze takes a PDF and answers where every word is."""

import json
import socket
import subprocess
import xml.etree.ElementTree as xml
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import analytics

PORT = 5060
XHTML = "{http://www.w3.org/1999/xhtml}"
MAX_BYTES = 32 << 20


def analyze(pdf):
    """Per page its size, lines and words; boxes are [left, top, right, bottom] in points."""
    layout = subprocess.run(
        ["pdftotext", "-bbox-layout", "-", "-"],
        input=pdf,
        capture_output=True,
        check=True,
        timeout=20,
    ).stdout
    return {
        "pages": [
            {
                "number": number,
                "width": float(page.get("width")),
                "height": float(page.get("height")),
                "lines": [read_line(line) for line in page.iter(XHTML + "line")],
            }
            for number, page in enumerate(xml.fromstring(layout).iter(XHTML + "page"), 1)
        ]
    }


def read_line(line):
    words = [{"text": word.text, "box": box(word)} for word in line.iter(XHTML + "word")]
    text = " ".join(word["text"] for word in words)
    return {"text": text, "box": box(line), "words": words}


def box(element):
    return [round(float(element.get(side)), 1) for side in ("xMin", "yMin", "xMax", "yMax")]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200 if self.path == "/health" else 404, {})

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        if self.path != "/analyze" or not 0 < length <= MAX_BYTES:
            return self.answer(404, {"error": "POST a PDF of at most 32 MiB to /analyze"})
        try:
            result = analyze(self.rfile.read(length))
        except (subprocess.SubprocessError, xml.ParseError) as error:
            return self.answer(422, {"error": f"not a readable PDF: {error}"})
        pages = result["pages"]
        title = pages[0]["lines"][0]["text"] if pages and pages[0]["lines"] else ""
        analytics.report({"event": "analyze", "pages": len(pages), "title": title})
        return self.answer(200, result)

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


Server(("::", PORT), Handler).serve_forever()
