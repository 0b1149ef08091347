# Janus, doing what the server does: the same cameras to WebRTC viewers, measured from outside.
# SPDX-License-Identifier: Apache-2.0
"""Imported, it measures (needs nothing but Janus); run by its own environment's Python it is a helper
of the measurement: `janus.py viewers …` plays, `janus.py relay …` stands between Janus and the cameras.

Janus takes cameras over UDP only, the simulated ones send interleaved in TCP: the relay turns one into
the other, in a process of its own that is not counted. It also gathers no loopback candidates, so media
goes to an address of this machine's own; the kernel carries that over the loopback interface, too."""

import asyncio
import fcntl
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.parse
import urllib.request

from procs import BenchError, Program, percentile, say

HERE = os.path.abspath(__file__)
ENVIRONMENT = os.path.join(os.path.dirname(os.path.dirname(HERE)), ".build", "bench-venv")
PACKAGES = ["aiortc==1.16.0"]
CLIENTS = 2
# An aiortc viewer costs its process tens of milliseconds to join.
JOINS_PER_SECOND = 10
# Packets of each viewer that are opened with its SRTP keys; the later ones are only counted.
OPENED = 50
POLL_SECONDS = 0.01

CONFIGURATION = """
general: {{
    configs_folder = "{folder}"; events_folder = "{folder}"; loggers_folder = "{folder}"
    debug_level = 2; debug_colors = false; session_timeout = 0
}}
nat: {{ ice_lite = true; ice_enforce_list = "{address}"; full_trickle = false }}
plugins: {{ disable = "{plugins}" }}
transports: {{ disable = "{transports}" }}
"""
HTTP = 'general: {{ json = "compact"; base_path = "/janus"; http = true; ip = "127.0.0.1"; port = {port}; ' \
    "https = false }}\n"
# The profile is overridden: aiortc refuses the cameras' own, and nothing is decoded.
MOUNTPOINT = """
camera_{number}: {{
    type = "rtsp"; id = {number}; audio = false; video = true; url = "{url}/camera_{number}"
    rtspiface = "127.0.0.1"; rtsp_failcheck = false; rtsp_reconnect_delay = 2; videocodec = "h264"
    videofmtp = "profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1"
}}
"""
UNUSED_PLUGINS = [
    "audiobridge", "duktape", "echotest", "lua", "nosip", "recordplay", "sip", "textroom", "videocall",
    "videoroom", "voicemail"]
UNUSED_TRANSPORTS = ["mqtt", "nanomsg", "pfunix", "rabbitmq", "websockets"]


# MARK: Measuring


def measure_janus(folder, rtsp_url, cameras, numbers, seconds):
    """One run for each number of viewers, each of a fresh Janus that all cameras have reached."""
    if shutil.which("janus") is None:
        raise BenchError("Janus is not installed (Debian: apt-get install janus)")
    address = own_address()
    python = environment()
    relay = Program("janus-relay", [python, HERE, "relay", rtsp_url], folder)
    url = relay.ready(30)["rtsp_url"]
    idle, runs = None, []
    for number in numbers:
        place = os.path.join(folder, f"janus-{number}")
        os.makedirs(place)
        janus, api = start(place, address, url, cameras)
        if idle is None:
            idle = cores(janus, 5)
        say(f"Janus: {number} viewers for {seconds} s")
        runs.append(measure(python, place, janus, api, address, cameras, number, seconds))
        janus.stop()
    relay.stop()
    return {
        "name": "Janus streaming plugin", "version": version(), "cameras": cameras,
        "joins_per_second": JOINS_PER_SECOND, "idle_cpu_cores": round(idle, 4), "runs": runs}


def version():
    done = subprocess.run(["janus", "--version"], capture_output=True, text=True)
    found = re.search(r"Janus version: \d+ \(([^)]*)\)", done.stdout + done.stderr)
    return found.group(1) if found else "unknown"


def own_address():
    """An IPv4 address of this machine that is not a loopback one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                # SIOCGIFADDR of Linux; the address lies at a fixed place of the answer.
                answer = fcntl.ioctl(probe, 0x8915, struct.pack("256s", name.encode()))
            except OSError:
                continue
            address = socket.inet_ntoa(answer[20:24])
            if not address.startswith("127."):
                return address
    raise BenchError("Janus needs an IPv4 address that is not a loopback one, and there is none")


def environment():
    """The Python of the environment that the viewers need; made when missing."""
    python = os.path.join(ENVIRONMENT, "bin", "python")
    stamp = os.path.join(ENVIRONMENT, "packages.txt")
    try:
        with open(stamp) as file:
            if file.read().split() == PACKAGES:
                return python
    except OSError:
        pass
    say(f"making {ENVIRONMENT} for Janus's viewers")
    for command in (
            [sys.executable, "-m", "venv", "--clear", ENVIRONMENT],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise BenchError(f"no environment with {' '.join(PACKAGES)}: {' '.join(last)}")
    with open(stamp, "w") as file:
        file.write("\n".join(PACKAGES) + "\n")
    return python


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(place, address, rtsp_url, cameras):
    """A Janus that gets pictures of every camera, and the address of its API."""
    port = free_port()
    texts = {
        "janus.jcfg": CONFIGURATION.format(
            folder=place, address=address,
            plugins=",".join(f"libjanus_{name}.so" for name in UNUSED_PLUGINS),
            transports=",".join(f"libjanus_{name}.so" for name in UNUSED_TRANSPORTS)),
        "janus.transport.http.jcfg": HTTP.format(port=port),
        "janus.plugin.streaming.jcfg": "".join(
            MOUNTPOINT.format(number=number, url=rtsp_url) for number in range(1, cameras + 1)),
    }
    for name, text in texts.items():
        with open(os.path.join(place, name), "w") as file:
            file.write(text)
    janus = Program("janus", ["janus", "-F", place, "-C", os.path.join(place, "janus.jcfg")], place)
    api = f"http://127.0.0.1:{port}/janus"
    deadline = time.monotonic() + 60 + cameras / 5
    reached = 0
    while time.monotonic() < deadline:
        if janus.child.poll() is not None:
            raise BenchError(f"Janus ended early: {output(janus)}")
        try:
            reached = flowing(api)
        except OSError:
            reached = 0
        if reached == cameras:
            return janus, api
        time.sleep(0.25)
    raise BenchError(f"Janus gets pictures of {reached} of {cameras} cameras: {output(janus)}")


def output(janus):
    """Janus writes its log to stdout."""
    with open(janus.out_path, "rb") as file:
        return file.read()[-2000:].decode("utf-8", "replace")


def call(url, body):
    """One request of Janus's HTTP API, or, without a body, its next event; never by a proxy."""
    data = None
    if body is not None:
        data = json.dumps({**body, "transaction": f"{random.getrandbits(48):x}"}).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, data, timeout=60) as response:
        answer = json.load(response)
    if answer.get("janus") == "error":
        raise BenchError(f"Janus: {answer['error']}")
    return answer


def attach(api):
    """Addresses of a new session, and of its handle on the streaming plugin."""
    session = f"{api}/{call(api, {'janus': 'create'})['data']['id']}"
    answer = call(session, {"janus": "attach", "plugin": "janus.plugin.streaming"})
    return session, f"{session}/{answer['data']['id']}"


def flowing(api):
    """How many cameras have sent something within the last second."""
    session, handle = attach(api)
    answer = call(handle, {"janus": "message", "body": {"request": "list"}})
    call(session, {"janus": "destroy"})
    mounts = answer["plugindata"]["data"]["list"]
    return sum(
        all(media.get("age_ms", 60_000) < 1000 for media in mount.get("media") or [{}])
        for mount in mounts)


def tree(pid):
    """A process and all that came from it."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        children = [int(text) for text in file.read().split()]
    return [pid] + [found for child in children for found in tree(child)]


def cpu_seconds(program):
    total = 0
    for pid in tree(program.pid):
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def rss_mb(program):
    total = 0
    for pid in tree(program.pid):
        with open(f"/proc/{pid}/statm") as file:
            total += int(file.read().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


def cores(program, seconds):
    begun, cpu = time.monotonic(), cpu_seconds(program)
    time.sleep(seconds)
    return (cpu_seconds(program) - cpu) / (time.monotonic() - begun)


def messages(program, kind, count, patience):
    """The last of at least so many messages of one kind on a client's stdout."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with open(program.out_path, "rb") as file:
            lines = [json.loads(line) for line in file.read().split(b"\n")[:-1]]
        found = [line[kind] for line in lines if kind in line]
        if len(found) >= count:
            return found[-1]
        if program.child.poll() is not None:
            raise BenchError(f"{program.name} ended early: {program.tail()}")
        time.sleep(0.05)
    raise BenchError(f"{program.name} did not say \"{kind}\" within {patience:.0f} s: {program.tail()}")


def measure(python, place, janus, api, address, cameras, viewers, seconds):
    clients = []
    for client in range(CLIENTS):
        # Every so manieth viewer, so that each client has viewers of all cameras.
        arguments = [viewers, CLIENTS, client, JOINS_PER_SECOND, cameras]
        clients.append(Program(
            f"janus-viewers-{client}",
            [python, HERE, "viewers", api, address, *map(str, arguments)], place))
    patience = 60 + 2 * viewers / JOINS_PER_SECOND
    joins = [messages(client, "joined", 1, patience) for client in clients]
    # Joining is work of its own; what is measured is the steady state.
    time.sleep(2)

    def sample(count):
        for client in clients:
            client.child.send_signal(signal.SIGUSR1)
        return [messages(client, "sample", count, 30) for client in clients]

    first, begun, cpu = sample(1), time.monotonic(), cpu_seconds(janus)
    time.sleep(seconds)
    took, cpu = time.monotonic() - begun, cpu_seconds(janus) - cpu
    memory = rss_mb(janus)
    last = sample(2)
    for client in clients:
        client.stop(signal.SIGKILL)
    rates = [
        (after - before) / (end["at"] - start["at"])
        for start, end in zip(first, last) for before, after in zip(start["packets"], end["packets"])]
    times = [value for join in joins for value in join["ms"]]
    failures = [text for join in joins for text in join["failed"]]
    if not times:
        raise BenchError(f"no viewer joined Janus: {failures[:1]} {output(janus)}")
    return {
        "viewers": viewers, "joined": len(times), "failed": failures[:3],
        "measured_seconds": round(took, 2),
        "cpu_cores": round(cpu / took, 4),
        "cpu_percent_per_viewer": round(100 * cpu / took / len(times), 4),
        "rss_mb": round(memory, 1),
        "packets_per_second_per_viewer": round(sum(rates) / len(rates), 1),
        "packets_per_second_least": round(min(rates), 1),
        "bits_per_second_per_viewer": round(8 / len(times) * sum(
            (end["bytes"] - start["bytes"]) / (end["at"] - start["at"])
            for start, end in zip(first, last))),
        "lost": sum(end["lost"] - start["lost"] for start, end in zip(first, last)),
        "join_ms": {f"p{share}": round(percentile(times, share), 1) for share in (50, 99)},
        # Below one core each, and nothing lost: the viewers did not hold Janus back.
        "client_cpu_cores": [
            round((end["cpu"] - start["cpu"]) / (end["at"] - start["at"]), 3)
            for start, end in zip(first, last)],
        "load_average": round(os.getloadavg()[0], 2),
    }


# MARK: Viewers


class Viewer:
    """What one viewer got."""

    def __init__(self):
        self.opened = 0
        self.packets = 0
        self.bytes = 0
        self.lost = 0
        self.sequence = None
        self.receives = asyncio.Event()

    def count(self, data, size):
        self.packets += 1
        self.bytes += size
        sequence = data[2] << 8 | data[3]
        if self.sequence is not None:
            ahead = sequence - self.sequence & 0xFFFF
            if ahead >= 0x8000:
                self.lost -= 1
                return
            self.lost += ahead - 1
        self.sequence = sequence



class Counter:
    """Empties sockets at intervals: one wakeup for all of them, and of media only the count."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.buffer = bytearray(2048)
        self.sockets = []
        self.loop.call_later(POLL_SECONDS, self.poll)

    def take(self, protocol, viewer):
        """From here on aiortc gets only the STUN and DTLS of this socket."""
        each = protocol.transport._sock
        self.loop._remove_reader(each.fileno())
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        self.sockets.append((each, protocol, viewer))

    def poll(self):
        buffer = self.buffer
        for each, protocol, viewer in self.sockets:
            try:
                while True:
                    size, sender = each.recvfrom_into(buffer)
                    if buffer[0] >> 6 != 2:
                        protocol.datagram_received(bytes(buffer[:size]), sender)
                    elif not 192 <= buffer[1] <= 223:
                        viewer.count(buffer, size)
            except OSError:
                # Empty, or closed from afar, which the counts show.
                pass
        self.loop.call_later(POLL_SECONDS, self.poll)


async def view(api, address, viewers, step, offset, rate, cameras):
    """Joins every `step`th viewer from `offset` on, in the rhythm of all of them, then stays."""
    # Only the environment of the viewers has these.
    import concurrent.futures

    import aioice.ice
    import aiortc
    import aiortc.rtcdtlstransport

    loop = asyncio.get_running_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(32))
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [address]
    certificate = aiortc.rtcdtlstransport.RTCCertificate.generateCertificate()
    aiortc.rtcdtlstransport.RTCCertificate.generateCertificate = classmethod(lambda _: certificate)
    by_transport, kept, counter = {}, [], Counter()

    async def opened(transport, data, arrival_time_ms):
        """aiortc calls this with each media packet whose SRTP was authentic."""
        viewer = by_transport[transport]
        viewer.opened += 1
        viewer.count(data, len(data))
        viewer.receives.set()
        if viewer.opened == OPENED:
            for protocol in transport.transport._connection._protocols:
                counter.take(protocol, viewer)

    aiortc.rtcdtlstransport.RTCDtlsTransport._handle_rtp_data = opened

    async def join(number, viewer):
        begun = time.monotonic()
        session, handle = await asyncio.to_thread(attach, api)
        watch = {"request": "watch", "id": 1 + number % cameras}
        await asyncio.to_thread(call, handle, {"janus": "message", "body": watch})
        event = {}
        while event.get("janus") != "event":
            event = await asyncio.to_thread(call, session + "?maxev=1", None)
        if "jsep" not in event:
            raise BenchError(f"no offer: {json.dumps(event)[:300]}")
        peer = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
        kept.append(peer)
        connected = asyncio.Event()

        @peer.on("connectionstatechange")
        def changed():
            if peer.connectionState == "connected":
                connected.set()

        offer = event["jsep"]
        await peer.setRemoteDescription(aiortc.RTCSessionDescription(offer["sdp"], offer["type"]))
        for transceiver in peer.getTransceivers():
            by_transport[transceiver.receiver.transport] = viewer
        await peer.setLocalDescription(await peer.createAnswer())
        answer = {"type": "answer", "sdp": peer.localDescription.sdp}
        await asyncio.to_thread(
            call, handle, {"janus": "message", "body": {"request": "start"}, "jsep": answer})
        async with asyncio.timeout(20):
            await connected.wait()
            took = time.monotonic() - begun
            await viewer.receives.wait()
        return took * 1000

    numbers = range(offset, viewers, step)
    all_viewers = [Viewer() for _ in numbers]

    async def later(number, viewer):
        await asyncio.sleep(number / rate)
        return await join(number, viewer)

    def sample():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        tell({"sample": {
            "at": time.monotonic(), "packets": [viewer.packets for viewer in all_viewers],
            "bytes": sum(viewer.bytes for viewer in all_viewers),
            "lost": sum(viewer.lost for viewer in all_viewers),
            "cpu": usage.ru_utime + usage.ru_stime}})

    loop.add_signal_handler(signal.SIGUSR1, sample)
    done = await asyncio.gather(*map(later, numbers, all_viewers), return_exceptions=True)
    tell({"joined": {
        "ms": [took for took in done if isinstance(took, float)],
        "failed": [repr(problem)[:300] for problem in done if not isinstance(problem, float)]}})
    await asyncio.Event().wait()


def tell(message):
    print(json.dumps(message), flush=True)


# MARK: Relay


class FromJanus(asyncio.Protocol):
    """Janus's RTSP connection; what it asks for over UDP is asked of the camera interleaved."""

    def __init__(self, host, port):
        self.host, self.port = host, port
        self.text = b""
        self.camera = None

    def connection_made(self, transport):
        self.transport = transport
        self.task = asyncio.ensure_future(self.connect())

    async def connect(self):
        loop = asyncio.get_running_loop()
        try:
            _, camera = await loop.create_connection(lambda: FromCamera(self), self.host, self.port)
        except OSError:
            self.transport.close()
            return
        self.camera = camera
        self.data_received(b"")

    def data_received(self, data):
        self.text += data
        while self.camera and b"\r\n\r\n" in self.text:
            request, self.text = self.text.split(b"\r\n\r\n", 1)
            self.camera.ask(request + b"\r\n\r\n")

    def connection_lost(self, problem):
        if self.camera:
            self.camera.transport.close()


class FromCamera(asyncio.Protocol):
    """The connection to a camera: answers go back, packets go to Janus's ports."""

    def __init__(self, janus):
        self.janus = janus
        self.bytes = bytearray()
        self.sockets = pair()
        self.ports = None

    def connection_made(self, transport):
        self.transport = transport

    def ask(self, request):
        wanted = re.search(rb"client_port=(\d+)-(\d+)", request)
        if wanted:
            self.ports = [int(wanted.group(1)), int(wanted.group(2))]
            request = re.sub(
                rb"(?mi)^Transport:[^\r]*", b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1", request)
        self.transport.write(request)

    def data_received(self, data):
        self.bytes += data
        at, end = 0, len(self.bytes)
        with memoryview(self.bytes) as view:
            while end - at >= 4:
                if view[at] != 0x24:
                    stop = self.answer(at)
                else:
                    stop = at + 4 + (view[at + 2] << 8 | view[at + 3])
                    if stop <= end and self.ports:
                        channel = view[at + 1] & 1
                        self.sockets[channel].sendto(
                            view[at + 4:stop], ("127.0.0.1", self.ports[channel]))
                if stop is None or stop > end:
                    break
                at = stop
        del self.bytes[:at]

    def answer(self, at):
        """Hands an answer on; returns where it ends, or None while it is not complete."""
        head_end = self.bytes.find(b"\r\n\r\n", at)
        if head_end < 0:
            return None
        head = bytes(self.bytes[at:head_end + 4])
        length = re.search(rb"(?mi)^Content-Length: *(\d+)", head)
        stop = head_end + 4 + (int(length.group(1)) if length else 0)
        if stop > len(self.bytes):
            return None
        if self.ports:
            ports = self.ports + [each.getsockname()[1] for each in self.sockets]
            text = "Transport: RTP/AVP;unicast;client_port={}-{};server_port={}-{}".format(*ports)
            head = re.sub(rb"(?mi)^Transport:[^\r]*", text.encode(), head)
        self.janus.transport.write(head + bytes(self.bytes[head_end + 4:stop]))
        return stop

    def connection_lost(self, problem):
        for each in self.sockets:
            each.close()
        self.janus.transport.close()


def pair():
    """Two UDP sockets on an even port and the next one, as RTSP names them."""
    for _ in range(1000):
        first, second = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        port = random.randrange(20_000, 60_000, 2)
        try:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return first, second
        except OSError:
            first.close()
            second.close()
    raise BenchError("no two free UDP ports")


async def relay(rtsp_url):
    target = urllib.parse.urlsplit(rtsp_url)
    server = await asyncio.get_running_loop().create_server(
        lambda: FromJanus(target.hostname, target.port), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tell({"ready": True, "rtsp_url": f"rtsp://127.0.0.1:{port}"})
    await server.serve_forever()


def main():
    if sys.argv[1] == "relay":
        asyncio.run(relay(sys.argv[2]))
    else:
        asyncio.run(view(sys.argv[2], sys.argv[3], *map(int, sys.argv[4:])))


if __name__ == "__main__":
    main()
