"""A service of the old kind: it forks twice, and answers on port 8080 in the background."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"up\n")


def go_to_the_background():
    if os.fork():
        os._exit(0)
    os.setsid()  # leave the terminal
    if os.fork():
        os._exit(0)  # who does not lead its session never gets a terminal again
    os.chdir("/")


def main():
    server = HTTPServer(("", 8080), Answer)  # what can fail comes before the fork
    go_to_the_background()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with open(os.environ["PIDFILE"], "w") as file:
        print(os.getpid(), file=file)
    server.serve_forever()


main()
