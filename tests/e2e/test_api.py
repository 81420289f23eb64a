"""The running daemon against docs/openapi.json: every route and every status that it documents is provoked for real,
and every answer is held against its schema; what the document does not name is a failure as well."""
import base64
import hashlib
import hmac
import http.client
import json
import os
import random
import re
import socket
import sqlite3
import struct
import threading
import time
import unittest

try:
    from jsonschema import Draft202012Validator, FormatChecker
except ImportError:
    Draft202012Validator = None

import media
from farm import Farm, pause
from harness import main, wait_until

SECRET = "a secret of the farm's own"
NOWHERE = "v0cmyh4af51zfg"  # no video
UNKNOWN = {"{video}": NOWHERE, "{task}": "t999999", "{node}": "nobody", "{subject}": "t999999", "{path}": "x/y.m4s",
           "{key}": "published/x/y.t1.m4s", "{file}": "nothing.js", "{language}": "en"}
SUBTITLES = b"1\n00:00:00,000 --> 00:00:01,000\nHello\n"
# Documented, and not provoked here.
NOT_PROVOKED = {
    ("put", "/objects/{key}", "507"): "needs a disk that is full; tests/daemon/test_restart.c has one",
    ("delete", "/api/v1/videos/{video}", "503"): "comes after 60 s of waiting for the deletion",
    ("delete", "/api/v1/videos/{video}/subtitles/{language}", "409"): "comes only while the video is encoded",
    ("get", "/api/v1/videos/{video}/tasks", "503"): "reads the store, which fails only with the disk",
    ("get", "/api/v1/videos/{video}/log", "503"): "reads the store, which fails only with the disk",
}


class Document:
    """The description, and what has been seen of it."""

    def __init__(self, document):
        self.document = document
        self.seen = set()
        self.codes = set()
        self.operations = {(method, path): operation for path, item in document["paths"].items()
                           for method, operation in item.items()}

    def resolve(self, node):
        return self.at(node["$ref"]) if "$ref" in node else node

    def at(self, ref):
        node = self.document
        for part in ref[2:].split("/"):
            node = node[part]
        return node

    def validate(self, schema, value, what):
        whole = {"components": self.document["components"], **schema}
        checker = Draft202012Validator(whole, format_checker=FormatChecker())
        wrong = ["%s: %s" % ("/".join(map(str, error.path)), error.message) for error in checker.iter_errors(value)]
        if wrong:
            raise AssertionError("%s is not what docs/openapi.json says: %s\n%s" %
                                 (what, "; ".join(wrong[:5]), json.dumps(value)[:1500]))

    def check(self, method, path, status, headers, body):
        """Holds one answer against the document; returns its JSON, or its bytes."""
        what = "%s %s: %d" % (method, path, status)
        operation = self.operations[(method.lower(), path)]
        key = str(status) if str(status) in operation["responses"] else "default" if status == 500 else None
        if key is None:
            raise AssertionError("%s is not documented for this route: %r" % (what, body[:500]))
        self.seen.add((method.lower(), path, key))
        response = self.resolve(operation["responses"][key])
        for name, header in response.get("headers", {}).items():
            value = headers.get(name)
            if header.get("required") and value is None:
                raise AssertionError("%s lacks the header %s" % (what, name))
            if value is not None:
                self.validate(header["schema"], value, what + " " + name)
        content = response.get("content")
        if content is None:
            if body:
                raise AssertionError("%s has a body, and the document says of none" % what)
            return None
        kind = (headers.get("Content-Type") or "").split(";")[0]
        if kind not in content and "*/*" not in content:
            raise AssertionError("%s is of the type %r, not %s" % (what, kind, list(content)))
        if kind != "application/json" or kind not in content:
            return body
        value = json.loads(body)
        self.validate(content[kind].get("schema", {}), value, what)
        if status >= 400:
            self.codes.add(value["error"]["code"])
            if value["error"]["message"][:1].isspace() or len(value["error"]["message"]) < 10:
                raise AssertionError("%s says nothing: %r" % (what, value))
        return value


def exchange(farm, method, path, headers=None, body=None, seconds=30):
    """(status, headers, body) of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", farm.http_port, timeout=seconds)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        kind = answer.headers.get("Content-Type") or ""
        raw = b"" if kind.startswith("text/event-stream") else answer.read()
        return answer.status, answer.headers, raw
    finally:
        connection.close()


def fill(path, names=UNKNOWN):
    for name, value in names.items():
        path = path.replace(name, value)
    return path


def ticket(read, write, token, seconds=600):
    """As the daemon signs them for leases: objects/objects_ticket.c."""
    payload = bytes([1]) + struct.pack(">QQ", token, int((time.time() + seconds) * 1e9))
    for prefix in (read, "", write):
        payload += bytes([len(prefix)]) + prefix.encode()
    text = base64.urlsafe_b64encode(payload).rstrip(b"=")
    sum_ = base64.urlsafe_b64encode(hmac.new(SECRET.encode(), text, hashlib.sha256).digest()).rstrip(b"=")
    return {"Authorization": "Sluice-Ticket " + (text + b"." + sum_).decode()}


def token_line(name, scopes):
    return "%s %s sha256:%s\n" % (name, scopes, hashlib.sha256(("token-" + name).encode()).hexdigest())


def bearer(name):
    return {"Authorization": "Bearer token-" + name}


def farm_make(name, more=""):
    """Its daemon asks this machine for tokens too."""
    farm = Farm(name)
    secret, tokens = os.path.join(farm.folder, "secret"), os.path.join(farm.folder, "tokens")
    with open(secret, "w") as file:
        file.write(SECRET + "\n")
    with open(tokens, "w") as file:
        for scope in ("read", "submit", "operate", "admin"):
            file.write(token_line(scope, scope))
    os.chmod(secret, 0o600)
    os.chmod(tokens, 0o600)
    with open(farm.config, "a") as file:
        file.write("  upload_max: 1M\n  api: {tokens: %s, loopback_tokens: true, %s}\nfarm: {secret_file: %s}\n" %
                   (tokens, more or "rate: 0", secret))
    return farm


class OneFarm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if Draft202012Validator is None:
            raise unittest.SkipTest("python3-jsonschema is missing: tools/deps.sh test installs it")
        cls.farm = farm_make("api")
        cls.addClassCleanup(cls.farm.stop)
        cls.farm.start_daemon()
        cls.farm.start_agent("a1", wait=False)
        cls.document = Document(json.loads(exchange(cls.farm, "GET", "/api/v1/openapi.json")[2]))

    def ask(self, method, path, status, who="admin", headers=None, body=None, names=None, query="", farm=None, seconds=30):
        """One request to a documented route, by its template; its answer, checked."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        every = dict(bearer(who) if who else {}, **(headers or {}))
        got = exchange(farm or self.farm, method, fill(path, dict(UNKNOWN, **(names or {}))) + query, every, body, seconds)
        value = self.document.check(method, path, *got)
        if status is not None:
            self.assertEqual(got[0], status, "%s %s: %r" % (method, path, got[2][:500]))
        return got, value

    def headers_only(self, method, path, headers, names=None):
        """Sends the headers of a large body and nothing of it; the answer comes all the same."""
        where = fill(path, dict(UNKNOWN, **(names or {})))
        lines = ["%s %s HTTP/1.1" % (method, where), "Host: 127.0.0.1:%d" % self.farm.http_port, "Connection: close"]
        lines += ["%s: %s" % item for item in headers.items()]
        with socket.create_connection(("127.0.0.1", self.farm.http_port), 20) as s:
            s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            answer = http.client.HTTPResponse(s, method=method)
            answer.begin()
            self.document.check(method, path, answer.status, answer.headers, answer.read())
            return answer.status

    def upload(self, clip, name):
        """By its bytes, as from elsewhere; the video's id."""
        _, made = self.ask("POST", "/api/v1/videos", 201, "submit", body={"name": name, "policy": "quick"})
        with open(clip, "rb") as file:
            source = file.read()
        names = {"{video}": made["video_id"]}
        self.ask("PUT", "/api/v1/videos/{video}/source", 200, "submit", names=names, body=source)
        return made["video_id"]

    # ---- the steps of the one long test, in their order ----

    def document_is_whole(self):
        document = self.document.document
        refs = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)))
        for ref in refs:
            self.document.at(ref)
        used = {ref.rsplit("/", 1)[1] for ref in refs} | {"EventVideo", "EventNode"}
        for name, schema in document["components"]["schemas"].items():
            Draft202012Validator.check_schema(schema)
            self.assertIn(name, used, "a schema that nothing uses")
        ids = [operation["operationId"] for operation in self.document.operations.values()]
        self.assertEqual(len(ids), len(set(ids)))
        for (method, path), operation in self.document.operations.items():
            named = {self.document.resolve(p)["name"] for p in operation.get("parameters", [])
                     if self.document.resolve(p)["in"] == "path"}
            self.assertEqual(named, set(re.findall(r"{(\w+)}", path)), path)

    def whoever_may_not_is_told(self):
        for (method, path), operation in self.document.operations.items():
            scopes = {scope for way in operation["security"] for scope in way.get("token", [])}
            if not scopes:
                continue
            self.ask(method.upper(), path, 401, None)
            self.ask(method.upper(), path, 401, "nobody")
            lacking = [scope for scope in ("operate", "read", "submit") if scope not in scopes]
            if len(scopes) < 4:
                self.ask(method.upper(), path, 403, lacking[0])
            elif method != "get":  # open to every token, and not to a page of another origin
                self.ask(method.upper(), path, 403, "admin", headers={"Origin": "http://elsewhere.example"})
        # A daemon that trusts this machine does so under this machine's names only.
        self.ask("GET", "/api/v1/session", 403, None, headers={"Host": "elsewhere.example"}, farm=self.bare)
        self.ask("DELETE", "/api/v1/session", 403, None, headers={"Origin": "http://elsewhere.example"})

    def unknown_things_are_not_found(self):
        for (method, path), operation in self.document.operations.items():
            if "404" not in operation["responses"] or path in ("/", "/api/v1/videos", "/watch/{video}", "/videos/{video}"):
                continue
            if path == "/objects/{key}":
                self.ask("GET", path, 404, None, headers=ticket("published/x", "", 1))
                continue
            self.ask(method.upper(), path, 404, body=SUBTITLES if method == "put" else None)
        self.ask("POST", "/api/v1/videos", 404, body={"path": "/no/such/file.mp4"})

    def pages_may_be_missing(self):
        """The pages lie beside the program; without them their routes answer 404."""
        for path in ("/", "/watch/{video}", "/videos/{video}"):
            self.ask("GET", path, 404, None, farm=self.bare)
            self.ask("GET", path, 200, None)
        self.ask("GET", "/assets/{file}", 200, None, names={"{file}": "style.css"})

    def mistakes_are_told(self):
        videos, one = "/api/v1/videos", "/api/v1/videos/{video}"
        self.ask("POST", videos, 400, body="{")
        self.ask("POST", videos, 422, body={"path": "/tmp"})
        self.ask("POST", videos, 422, body={"policy_text": "gop: banana"})
        self.ask("POST", videos, 403, "submit", body={"path": media.made("short", 4, "320x240")})
        for query in ("?status=done", "?limit=0", "?limit=1001", "?next=x", "?priority=asap", "?created_after=then"):
            self.ask("GET", videos, 400, query=query)
        self.ask("DELETE", one, 400, query="?original=maybe")
        self.ask("POST", one + "/retry", 400, body={"from": "lunch"})
        self.ask("PUT", one + "/source", 400, body=b"x", headers={"X-Sluice-Sha256": "12"})
        self.ask("POST", "/api/v1/nodes/{node}/drain", 400, body={"deadline": "soon"})
        for (method, path), operation in self.document.operations.items():
            if "413" in operation["responses"]:
                length = 17 << 30 if "objects" in path else 70 << 20
                headers = dict({} if "objects" in path else bearer("admin"), **{"Content-Length": length, "Expect": "100-continue"})
                names = {}
                if path == "/objects/{key}" and method == "put":
                    headers.update(ticket("", "published/x", 1), **{"X-Sluice-Sha256": "0" * 64})
                self.assertEqual(self.headers_only(method.upper(), path, headers, names), 413, (method, path))

    def objects_are_for_their_lease(self):
        path = "/objects/{key}"
        names = {"{key}": "published/x/1/a.t7.m4s"}
        mine = ticket("published/x/1", "published/x/1", 7)
        content = b"0123456789"
        good = dict(mine, **{"X-Sluice-Sha256": hashlib.sha256(content).hexdigest()})
        other = dict(mine, **{"X-Sluice-Sha256": hashlib.sha256(b"other").hexdigest()})
        for method in ("GET", "PUT", "DELETE"):
            self.ask(method, path, 401, None, body=None if method == "GET" else b"x")
            self.ask(method, path, 403, None, headers=good, body=None if method == "GET" else b"x")
            self.ask(method, path, 400, None, headers=good, names={"{key}": "published//x"}, body=None if method == "GET" else b"x")
        self.ask("PUT", path, 422, None, headers=other, names=names, body=content)
        self.ask("PUT", path, 201, None, headers=good, names=names, body=content)
        self.ask("PUT", path, 409, None, headers=other, names=names, body=b"other")
        (_, headers, _), _ = self.ask("GET", path, 200, None, headers=mine, names=names)
        self.ask("GET", path, 304, None, headers=dict(mine, **{"If-None-Match": headers["ETag"]}), names=names)
        self.ask("GET", path, 206, None, headers=dict(mine, Range="bytes=2-3"), names=names)
        self.ask("GET", path, 416, None, headers=dict(mine, Range="bytes=99-"), names=names)
        self.ask("DELETE", path, 204, None, headers=mine, names=names)

    def uploads_are_what_they_say(self):
        path = "/api/v1/videos/{video}/source"
        _, made = self.ask("POST", "/api/v1/videos", 201, "submit", body={"provider": "p", "external_id": "1"})
        _, again = self.ask("POST", "/api/v1/videos", 200, "submit", body={"provider": "p", "external_id": "1"})
        self.assertEqual((made["video_id"], again["created"]), (again["video_id"], False))
        names = {"{video}": made["video_id"]}
        self.ask("PUT", path, 422, "submit", names=names, body=b"ab", headers={"X-Sluice-Sha256": "0" * 64})
        self.ask("PUT", path, 409, "submit", names=names, body=b"ab", headers={"Content-Range": "bytes 5-6/9"})
        (_, headers, _), have = self.ask("GET", path, 200, "submit", names=names)
        self.assertEqual((have["offset"], have["complete"]), (0, False))
        self.ask("GET", path, 304, "submit", names=names, headers={"If-None-Match": headers["ETag"]})
        self.ask("POST", "/api/v1/videos/{video}/cancel", 200, "operate", names=names)
        return made["video_id"]

    def subtitles_come_beside(self, waiting):
        path = "/api/v1/videos/{video}/subtitles/{language}"
        if ("put", path) not in self.document.operations:
            return
        text = SUBTITLES
        names = {"{video}": waiting, "{language}": "en"}
        for method in ("PUT", "DELETE"):
            self.ask(method, path, 400, "submit", names=dict(names, **{"{language}": "no+language"}), body=text)
        self.ask("PUT", path, 422, "submit", names=names, body=b"\x00\x01 these are no words")
        self.ask("PUT", path, 201, "submit", names=names, body=text)
        self.ask("PUT", path, 200, "submit", names=names, body=text)
        self.ask("DELETE", path, 200, "submit", names=names)
        for number in range(40):  # there is a most
            names["{language}"] = "x" + chr(97 + number // 26) + chr(97 + number % 26)
            if self.ask("PUT", path, None, "submit", names=names, body=text)[0][0] == 409:
                break

    def the_job_is_followed(self, video):
        """From transcoding to ready, each answer on the way held against its schema."""
        names = {"{video}": video}

        def over():
            _, status = self.ask("GET", "/api/v1/videos/{video}/status", 200, "read", names=names)
            if status["manifests"]:  # it may play already
                place = status["manifests"]["hls"].split("/media/")[1]
                self.ask("GET", "/media/{path}", 200, "read", names={"{path}": place})
            self.ask("GET", "/api/v1/explain/{subject}", 200, "read", names={"{subject}": video})
            self.ask("GET", "/api/v1/videos", 200, "read")
            return status["status"] in ("ready", "failed") and status
        status = wait_until(over, 120, "the video ends", 0.1)
        self.assertEqual(status["status"], "ready", status["error"])
        return status

    def what_is_there_is_shown(self, video, status):
        names = {"{video}": video, "{subject}": video}
        for path in ("/api/v1/videos", "/api/v1/videos/{video}/status", "/api/v1/videos/{video}/tasks",
                     "/api/v1/videos/{video}/log", "/api/v1/videos/{video}/source", "/api/v1/nodes", "/api/v1/devices",
                     "/api/v1/explain/{subject}", "/api/v1/dlq", "/api/v1/status", "/api/v1/session", "/healthz",
                     "/api/v1/openapi.json", "/", "/watch/{video}", "/videos/{video}", "/assets/{file}"):
            more = dict(names, **{"{file}": "style.css"})

            def unchanged():  # a node's state may change between the two
                (_, headers, _), _ = self.ask("GET", path, 200, names=more)
                got = self.ask("GET", path, None, names=more, headers={"If-None-Match": '"x", ' + headers["ETag"]})[0]
                return got[0] == 304
            wait_until(unchanged, 20, path)
        head = exchange(self.farm, "HEAD", "/healthz")
        self.assertEqual((head[0], head[2]), (200, b""))
        (_, _, metrics), _ = self.ask("GET", "/metrics", 200)
        self.metrics_are_sound(metrics.decode())
        (_, headers, _), _ = self.ask("POST", "/api/v1/session", 200, "read")
        cookie = {"Cookie": headers["Set-Cookie"].split(";")[0]}
        self.ask("GET", "/api/v1/session", 200, None, headers=cookie)
        self.ask("DELETE", "/api/v1/session", 200, None)

        place = status["manifests"]["hls"].split("/media/")[1]
        (_, headers, master), _ = self.ask("GET", "/media/{path}", 200, None, headers=cookie, names={"{path}": place})
        self.assertTrue(master.startswith(b"#EXTM3U"))
        self.assertEqual(headers["Cache-Control"], "no-cache")
        self.ask("GET", "/media/{path}", 304, "read", headers={"If-None-Match": headers["ETag"]}, names={"{path}": place})
        files = [name for name in self.farm.published(video) if name.endswith(".m4s")]
        segment = {"{path}": video + "/" + files[0]}
        (_, headers, _), _ = self.ask("GET", "/media/{path}", 206, "read", headers={"Range": "bytes=0-9"}, names=segment)
        self.assertIn("immutable", headers["Cache-Control"])
        self.ask("GET", "/media/{path}", 416, "read", headers={"Range": "bytes=99999999-"}, names=segment)
        self.ask("OPTIONS", "/media/{path}", 204, None, names=segment)

    def metrics_are_sound(self, text):
        """As promtool has it: one HELP and TYPE before a family's rows, counters end in _total, histograms add up."""
        types, helps, rows = {}, {}, {}
        for line in text.splitlines():
            if line.startswith("# HELP "):
                name, words = line[7:].split(" ", 1)
                self.assertNotIn(name, helps)
                self.assertTrue(words.endswith("."), line)
                helps[name] = words
            elif line.startswith("# TYPE "):
                name, kind = line[7:].split(" ")
                self.assertNotIn(name, types)
                self.assertIn(name, helps)
                types[name] = kind
            else:
                match = re.fullmatch(r'([a-z_]+)(?:{((?:[a-z_]+="[^"\\]*",?)+)})? (-?[0-9.e+-]+)', line)
                self.assertTrue(match, line)
                name, labels, value = match.groups()
                family = re.sub(r"_(bucket|sum|count)$", "", name) if name not in types else name
                self.assertIn(family, types, line)
                self.assertNotIn((name, labels), rows, line)
                rows[(name, labels)] = float(value)
        for name, kind in types.items():
            self.assertTrue(name.startswith("sluice_"))
            self.assertEqual(kind == "counter", name.endswith("_total"), name)
            # What a device does not tell has no row.
            self.assertTrue(any(row[0].startswith(name) for row in rows) or kind != "gauge" or name.startswith("sluice_device_"), name)
        for (name, labels), value in rows.items():
            if types.get(name) == "counter":
                self.assertGreaterEqual(value, 0)
            if name.endswith("_count") and types.get(name[:-6]) == "histogram":
                inf = ",".join(filter(None, [labels, 'le="+Inf"']))
                self.assertEqual(rows[(name[:-6] + "_bucket", inf)], value, (name, labels))
        answers = sum(value for (name, _), value in rows.items() if name == "sluice_http_requests_total")
        self.assertEqual(answers, sum(value for (name, _), value in rows.items()
                                      if name == "sluice_http_request_seconds_count"))

    def things_change_as_asked(self, video, cancelled):
        names = {"{video}": video}
        self.ask("POST", "/api/v1/videos/{video}/cancel", 409, "operate", names=names)
        self.ask("POST", "/api/v1/videos/{video}/retry", 409, "operate", names=names)
        self.ask("POST", "/api/v1/videos/{video}/retry", 200, "operate", names={"{video}": cancelled})
        self.ask("POST", "/api/v1/nodes/{node}/drain", 200, "operate", names={"{node}": "a1"}, body={"deadline": "10m"})
        self.ask("POST", "/api/v1/nodes/{node}/undrain", 200, "operate", names={"{node}": "a1"})
        # A second node of the same name: the name says too little.
        self.farm.start_agent("a1-again", wait=False, more=["--name", "a1"])
        wait_until(lambda: len([n for n in self.ask("GET", "/api/v1/nodes", 200)[1]["nodes"] if n["name"] == "a1"]) == 2,
                   30, "both nodes have joined")
        self.ask("POST", "/api/v1/nodes/{node}/drain", 409, "operate", names={"{node}": "a1"})
        self.ask("POST", "/api/v1/nodes/{node}/undrain", 409, "operate", names={"{node}": "a1"})

    def dead_work_waits_for_a_person(self):
        clip = os.path.join(self.farm.folder, "noise.mp4")
        with open(clip, "wb") as file:
            file.write(random.Random(1).randbytes(5000))
        video = self.upload(clip, "noise")

        def dead():
            tasks = self.ask("GET", "/api/v1/dlq", 200, "read")[1]["tasks"]
            return [task for task in tasks if task["video_id"] == video]
        names = {"{task}": wait_until(dead, 60, "the task is dead")[0]["task_id"], "{subject}": video}
        (_, headers, _), task = self.ask("GET", "/api/v1/dlq/{task}", 200, "read", names=names)
        self.assertEqual(task["error"]["class"], "input")
        self.ask("GET", "/api/v1/dlq/{task}", 304, "read", names=names, headers={"If-None-Match": headers["ETag"]})
        self.ask("POST", "/api/v1/dlq/{task}/redrive", 200, "operate", names=names)
        wait_until(dead, 60, "it is dead again")
        _, status = self.ask("GET", "/api/v1/videos/{video}/status", 200, names={"{video}": video})
        self.assertEqual(status["status"], "failed")
        self.ask("POST", "/api/v1/dlq/{task}/drop", 200, "operate", names=names)
        self.ask("POST", "/api/v1/dlq/{task}/drop", 409, "operate", names=names)
        self.ask("POST", "/api/v1/dlq/{task}/redrive", 409, "operate", names=names)
        self.ask("GET", "/api/v1/videos/{video}/log", 200, names={"{video}": video})
        self.ask("DELETE", "/api/v1/videos/{video}", 200, names={"{video}": video}, query="?original=1")

    def lists_are_filtered_and_paged(self):
        for i in range(6):
            self.ask("POST", "/api/v1/videos", 201, "submit", body={
                "name": "Page-%d.MOV" % i, "provider": "pager", "external_id": "x%d" % i,
                "priority": "low" if i % 2 else "urgent", "policy": "quick" if i < 2 else "default"})
            pause(0.005)  # ids of one millisecond have no order

        def names(query):
            return [row["name"] for row in self.ask("GET", "/api/v1/videos", 200, "read", query=query)[1]["videos"]]
        everything = ["Page-%d.MOV" % i for i in (5, 4, 3, 2, 1, 0)]
        self.assertEqual(names("?provider=pager"), everything)
        self.assertEqual(names("?provider=pager&priority=low"), everything[0::2])
        self.assertEqual(names("?provider=pager&policy=quick"), everything[4:])
        self.assertEqual(names("?q=page-3.mov"), ["Page-3.MOV"])
        self.assertEqual(names("?q=X4&provider=pager"), ["Page-4.MOV"])
        self.assertEqual(names("?q=%25"), [])
        self.assertEqual(names("?provider=pager&status=ready"), [])
        self.assertEqual(names("?provider=nobody"), [])
        rows = self.ask("GET", "/api/v1/videos", 200, "read", query="?provider=pager")[1]["videos"]
        third = rows[2]["created_at"]
        self.assertEqual(names("?provider=pager&created_after=" + third), everything[:3])
        self.assertEqual(names("?provider=pager&created_before=" + third), everything[3:])
        self.assertEqual(names("?provider=pager&created_before=2020-01-01"), [])
        # Page by page, while others come in: no row twice, none left out.
        found, query = [], "?provider=pager&limit=2"
        while query:
            _, page = self.ask("GET", "/api/v1/videos", 200, "read", query=query)
            found += [row["name"] for row in page["videos"]]
            self.ask("POST", "/api/v1/videos", 201, "submit", body={"provider": "pager", "name": "late"})
            query = page["next"] and "?provider=pager&limit=2&next=" + page["next"]
        self.assertEqual(found, everything)
        done = self.farm.cli("list", "--json", "--provider", "pager", "--query", "page-", "--priority", "low", "--token-file",
                             self.token_file("read"))
        self.assertEqual([row["name"] for row in done.json["videos"]], everything[0::2])
        done = self.farm.cli("cancel", rows[0]["video_id"], "--token-file", self.token_file("read"))
        self.assertEqual(done.returncode, 5)
        self.assertIn("operate", done.stderr)

    def token_file(self, name):
        path = os.path.join(self.farm.folder, "token-" + name)
        with open(path, "w") as file:
            file.write("token-" + name + "\n")
        return path

    def too_many_are_told_to_wait(self):
        """Against a daemon that takes one request a second of each."""
        for (method, path), operation in self.document.operations.items():
            if "429" in operation["responses"]:
                for _ in range(5):
                    if self.ask(method.upper(), path, None, None, farm=self.tight)[0][0] == 429:
                        break
                else:
                    self.fail("%s %s: no 429" % (method, path))

    def events_say_what_changes(self):
        """Every event of this farm's life so far that is still remembered, and how reconnecting goes on."""
        def follow(last, until):
            headers = dict(bearer("read"), **({"Last-Event-ID": last} if last else {}))
            connection = http.client.HTTPConnection("127.0.0.1", self.farm.http_port, timeout=30)
            connection.request("GET", "/api/v1/events", headers=headers)
            answer = connection.getresponse()
            self.document.check("GET", "/api/v1/events", answer.status, answer.headers, b"")
            text = b""
            while until not in text:
                text += answer.read1(65536)
            connection.close()
            return text.decode()
        self.assertTrue(follow(None, b"retry: 2000").startswith("retry: 2000\n\n"))
        for strange in ("5", "soon", "99999999999999999999", "-1"):
            self.assertIn("event: reset\ndata: {}\n\n", follow(strange, b"event: reset\ndata: {}\n\n"))
        first = int(time.time() - 3600) << 20  # before the daemon's own first one
        self.assertIn("reset", follow(str(first), b"reset"))
        log = []
        thread = threading.Thread(target=lambda: log.append(follow(None, b"event: video")))
        thread.start()
        pause(0.3)
        self.ask("POST", "/api/v1/videos", 201, "submit", body={"name": "an event"})
        thread.join(30)
        last = None
        for block in log[0].split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
            if fields.get("event") in ("video", "node"):
                schema = "EventVideo" if fields["event"] == "video" else "EventNode"
                self.document.validate({"$ref": "#/components/schemas/" + schema}, json.loads(fields["data"]), "an event")
                last = int(fields["id"])
        self.assertIsNotNone(last)
        self.assertIn("id: %d\n" % last, follow(str(last - 1), b"id: %d\n" % last))

    def a_daemon_in_trouble_says_so(self, video):
        """Somebody else holds the database: nothing can be committed, so nothing is answered."""
        base = sqlite3.connect(os.path.join(self.farm.data, "sluice.db"), timeout=20, isolation_level=None)
        base.execute("BEGIN IMMEDIATE")
        live = {"{video}": video}
        wrong = []

        def one(method, path):
            try:
                for _ in range(60):
                    body = SUBTITLES if method == "put" else b"{}" if method == "post" else None
                    got = self.ask(method.upper(), path, None, names=live, body=body, seconds=60)[0]
                    if got[0] == 503:
                        return
                    time.sleep(0.5)
                wrong.append("%s %s: %d" % (method, path, got[0]))
            except Exception as error:
                wrong.append("%s %s: %r" % (method, path, error))
        try:
            # Something to commit, so that the daemon notices.
            threads = [threading.Thread(target=one, args=("post", "/api/v1/videos"))]
            threads[0].start()
            time.sleep(1)
            for (method, path), operation in self.document.operations.items():
                if "503" in operation["responses"] and (method, path, "503") not in NOT_PROVOKED:
                    threads.append(threading.Thread(target=one, args=(method, path)))
                    threads[-1].start()
            for thread in threads:
                thread.join(90)
        finally:
            base.execute("ROLLBACK")
            base.close()
        self.assertEqual(wrong, [])
        self.farm.wait_well()

    def a_fault_is_500(self, video):
        """A row that no version of sluice wrote."""
        number = 0
        for digit in video[1:]:
            number = number * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(digit)
        base = sqlite3.connect(os.path.join(self.farm.data, "sluice.db"), timeout=20)
        base.execute("UPDATE videos SET status = 99 WHERE id = ?", (number,))
        base.commit()
        base.close()
        _, error = self.ask("GET", "/api/v1/videos/{video}/status", 500, "read", names={"{video}": video})
        self.assertIn("damaged", error["error"]["message"])

    def test_every_documented_answer_is_given_and_no_other(self):
        self.tight = farm_make("api-tight", "rate: 1, burst: 1, loopback_limits: true")
        self.addCleanup(self.tight.stop)
        self.tight.start_daemon()
        self.bare = Farm("api-bare", config="  web: /there/are/none\n")
        self.addCleanup(self.bare.stop)
        self.bare.start_daemon()

        self.document_is_whole()
        video = self.upload(media.made("short", 4, "320x240"), "short")
        self.whoever_may_not_is_told()
        self.unknown_things_are_not_found()
        self.pages_may_be_missing()
        self.mistakes_are_told()
        self.objects_are_for_their_lease()
        _, waiting = self.ask("POST", "/api/v1/videos", 201, "submit", body={"name": "waits for its source"})
        cancelled = self.uploads_are_what_they_say()
        status = self.the_job_is_followed(video)
        self.subtitles_come_beside(waiting["video_id"])
        self.what_is_there_is_shown(video, status)
        self.dead_work_waits_for_a_person()
        self.things_change_as_asked(video, cancelled)
        self.lists_are_filtered_and_paged()
        self.too_many_are_told_to_wait()
        self.events_say_what_changes()
        self.a_daemon_in_trouble_says_so(cancelled)
        self.a_fault_is_500(video)

        documented = {(method, path, status) for (method, path), operation in self.document.operations.items()
                      for status in operation["responses"] if status != "default"}
        seen = {(m, p, s) for m, p, s in self.document.seen if s != "default"}
        self.assertEqual(sorted(documented - seen - set(NOT_PROVOKED)), [], "documented, and never seen")
        known = {(method, path, status) for method, path, status in NOT_PROVOKED if (method, path) in self.document.operations}
        self.assertEqual(sorted(known - documented), [])
        self.assertIn("default", {s for _, _, s in self.document.seen})
        print("%d routes, %d answers of %d documented, error codes: %s" % (
            len(self.document.operations), len(seen), len(documented), ", ".join(sorted(self.document.codes))))


class Garbage(unittest.TestCase):
    """Whatever arrives, the daemon answers with an error of the client's or hangs up, and serves the next one."""

    @classmethod
    def setUpClass(cls):
        cls.farm = Farm("garbage")
        cls.addClassCleanup(cls.farm.stop)
        cls.farm.start_daemon()

    def send(self, raw):
        """The status of the answer, or None when there was none."""
        with socket.create_connection(("127.0.0.1", self.farm.http_port), 10) as s:
            try:
                s.sendall(raw)
                s.shutdown(socket.SHUT_WR)
                answer = b""
                while b"\r\n" not in answer:
                    part = s.recv(4096)
                    if not part:
                        return None
                    answer += part
            except OSError:
                return None
        match = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
        self.assertTrue(match, answer[:200])
        return int(match.group(1))

    def fine(self, raw, statuses=None):
        status = self.send(raw)
        self.assertTrue(status is None or status < 500 or status == 501 or status == 505, "%r: %s" % (raw[:200], status))
        if statuses:
            self.assertIn(status, statuses, raw[:200])
        return status

    def post(self, body, path="/api/v1/videos"):
        head = "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path, len(body))
        return head.encode() + body

    def get(self, path):
        return b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def test_bodies_that_are_no_json(self):
        deep = b"[" * 100000
        for body in (b"{", b"}", b"nul", b'{"name":"a","name":"b"}', b'{"name":"\xff\xfe"}', b'{"name":"\\ud800"}',
                     b"\x00" * 100, b'{"a":' * 5000 + b"1" + b"}" * 5000, deep, b'{"name":' + deep + b"}", b"[]", b'"x"', b"1e999",
                     b'{"name":1e999}', b'{"priority":["high"]}', b'{"path":"/etc/passwd\\u0000.mp4"}', b'{"name":"%s"}' % (b"a" * 300),
                     b'{"policy":"../../../etc/passwd"}', b'{"policy_text":"a: &a [*a,*a]\\nb: *a"}', b'{"policy_text":"\\t\\t"}',
                     b'{"external_id":"' + b"x" * 400 + b'"}'):
            self.fine(self.post(body), (400, 422))

    def test_headers_of_any_size_and_kind(self):
        for raw in (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200000 + b"\r\n\r\n",
                    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
                    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
                    b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", b"GET\r\n\r\n", b"\r\n\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\nHost: localhost\n\n",
                    b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n", b"GET http://other.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
                    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
                    b"POST /api/v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
                    b"POST /api/v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
                    b"POST /api/v1/videos HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
                    b"POST /api/v1/videos HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
                    b"GET /media/x HTTP/1.1\r\nHost: localhost\r\nRange: bytes=" + b"0-1," * 5000 + b"\r\n\r\n",
                    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: " + b'"a",' * 5000 + b"\r\n\r\n",
                    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nCookie: sluice_session=" + b"s1." * 500 + b"\r\n\r\n",
                    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + b"x" * 5000 + b"\r\n\r\n"):
            self.fine(raw)

    def test_paths_that_lead_elsewhere(self):
        for path in (b"/media/../sluice.db", b"/media/%2e%2e/sluice.db", b"/media/%2e%2e%2fsluice.db", b"/media/..%5csluice.db",
                     b"/media/x/%2e%2e/%2e%2e/%2e%2e/etc/passwd", b"/media/%00/etc/passwd", b"/media//etc/passwd", b"/media/%ff%fe",
                     b"/media/%", b"/media/%zz", b"/media/" + b"a/" * 3000, b"/media/" + b"%61" * 3000, b"/media/x/..;/y",
                     b"/assets/../sluice.db", b"/assets/%2e%2e%2fapi.js", b"/assets/..", b"/../../etc/passwd", b"/videos/../x",
                     b"/api/v1/videos/..%2f..%2fx/status", b"/api/v1/videos/%00/status", b"/api/v1/explain/%ff", b"/api/v1/dlq/t1%00"):
            self.assertIn(self.fine(self.get(path)), (200, 400, 403, 404, 414, 431, None), path)
            body = b""
            with socket.create_connection(("127.0.0.1", self.farm.http_port), 10) as s:
                s.sendall(self.get(path)[:-2] + b"Connection: close\r\n\r\n")
                while part := s.recv(65536):
                    body += part
            for secret in (b"SQLite format", b"root:x:"):
                self.assertNotIn(secret, body)
        for path in (b"/objects/../sluice.db", b"/objects/%2e%2e%2fsluice.db", b"/objects/sluice.db"):
            self.fine(self.get(path), (401, 404))

    def test_requests_with_bytes_turned(self):
        seed = random.randrange(1 << 30)
        chance = random.Random(seed)
        good = [self.get(b"/api/v1/videos?limit=3&q=a&created_after=2026-01-01T00:00:00Z"), self.post(b'{"name":"a","priority":"low"}'),
                self.post(b'{"from":"probe"}', "/api/v1/videos/%s/retry" % NOWHERE), self.get(b"/media/a/b/c.m4s"),
                self.get(b"/api/v1/explain/t1"), self.post(b'{"deadline":"10m"}', "/api/v1/nodes/a/drain"),
                b"PUT /api/v1/videos/" + NOWHERE.encode() + b"/source HTTP/1.1\r\nHost: localhost\r\nContent-Range: bytes 0-1/2\r\n"
                b"Content-Length: 2\r\n\r\nab"]
        for number in range(400):
            raw = bytearray(chance.choice(good))
            for _ in range(chance.randrange(1, 6)):
                at = chance.randrange(len(raw))
                act = chance.randrange(3)
                if act == 0:
                    raw[at] = chance.randrange(256)
                elif act == 1:
                    raw[at:at] = bytes([chance.randrange(256)]) * chance.choice((1, 2, 300))
                else:
                    del raw[at:at + chance.randrange(1, 8)]
            try:
                self.fine(bytes(raw))
            except AssertionError as error:
                raise AssertionError("seed %d, request %d: %s" % (seed, number, error))
            if not raw:
                break

    def tearDown(self):
        self.assertTrue(self.farm.daemon.alive(), self.farm.daemon.text()[-3000:])
        self.assertEqual(self.farm.api("GET", "/healthz")[0], 200)


if __name__ == "__main__":
    main()
