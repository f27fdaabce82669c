"""Real web servers in front of the PIM simulator, and real proxies, on loopback."""

import asyncio
import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.playground.embedded_kafka import free_ports

BODY_BYTES_MAX = 1024 * 1024
"""nginx at its defaults; the others are told the same."""

KEEPALIVE_SECONDS = 1

ANY_CIPHER = "DEFAULT@SECLEVEL=0"
"""OpenSSL speaks TLS 1.0 and 1.1 only with this."""

USER, PASSWORD = "proxy-user", "proxy-s3cret"


@dataclass(frozen=True)
class Site:
    """What a server needs: the PIM's port, its own two ports, and its certificate."""

    folder: Path
    upstream: int
    plain: int
    secure: int
    client_ca: Path | None = None
    """Whose client certificates the secure port wants."""
    tls_versions: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    """What the secure port speaks, from the oldest to the newest, as nginx spells it."""
    packs: bool = False
    """Whether answers are packed by gzip, whatever the client asked for."""
    trailers: tuple[str, ...] = ()
    """Names of trailers that nginx adds itself: it drops those of its upstream."""

    @property
    def certificate(self) -> Path:
        """Return the path of a file with the key and the chain."""
        return self.folder / "server.pem"


def nginx(site: Site) -> list[str]:
    """Return the command for nginx with its default limit on bodies."""
    verify = ""
    if site.client_ca is not None:
        verify = f"ssl_client_certificate {site.client_ca}; ssl_verify_client on;"
    trailers = "".join(f"add_trailer {name} late always;" for name in site.trailers)
    packing = f"unix:{site.folder}/packing.sock"
    inner = f"server {{ listen {packing}; location / {{ {proxied(site.upstream)} }} }}"
    ask_gzip = f"proxy_set_header Accept-Encoding gzip; proxy_pass http://{packing};"
    temporary = "".join(
        f"{kind}_temp_path {site.folder};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = f"""
        user root; daemon off; master_process off; pid {site.folder}/nginx.pid;
        error_log {site.folder}/nginx.log;
        events {{}}
        http {{
            access_log off; {temporary}
            keepalive_timeout {KEEPALIVE_SECONDS};
            gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1; gzip_http_version 1.0;
            {inner if site.packs else ""}
            server {{
                listen 127.0.0.1:{site.plain};
                listen 127.0.0.1:{site.secure} ssl;
                ssl_certificate {site.certificate}; ssl_certificate_key {site.certificate};
                ssl_protocols {" ".join(site.tls_versions)}; ssl_ciphers {ANY_CIPHER};
                {verify}
                location / {{
                    {trailers}
                    {ask_gzip if site.packs else proxied(site.upstream)}
                }}
            }}
        }}
    """
    return ["nginx", "-c", written(site.folder / "nginx.conf", config), "-e", "stderr"]


def proxied(upstream: int) -> str:
    """Return the directives that pass requests on to this port."""
    return f"proxy_pass http://127.0.0.1:{upstream};"


def apache(site: Site) -> list[str]:
    """Return the command for Apache, with a short keep-alive and compression for every client."""
    modules = (
        "mpm_event",
        "authz_core",
        "proxy",
        "proxy_http",
        "ssl",
        "deflate",
        "filter",
        "env",
        "alias",
    )
    load = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules
    )
    verify = ""
    if site.client_ca is not None:
        verify = f"SSLVerifyClient require\nSSLCACertificateFile {site.client_ca}"
    config = f"""
{load}
ServerName localhost
User www-data
Group www-data
ServerRoot {site.folder}
DefaultRuntimeDir {site.folder}
PidFile {site.folder}/apache.pid
ErrorLog {site.folder}/apache.log
Listen 127.0.0.1:{site.plain}
Listen 127.0.0.1:{site.secure}
KeepAlive On
KeepAliveTimeout {KEEPALIVE_SECONDS}
<If "%{{HTTP:Content-Length}} -gt {BODY_BYTES_MAX}">
Redirect 413 /
</If>
ProxyPass / http://127.0.0.1:{site.upstream}/
AddOutputFilterByType DEFLATE application/json
SetEnv force-gzip 1
<VirtualHost 127.0.0.1:{site.secure}>
SSLEngine on
SSLCertificateFile {site.certificate}
SSLProtocol -all {" ".join("+" + version for version in site.tls_versions)}
SSLCipherSuite {ANY_CIPHER}
{verify}
ProxyPass / http://127.0.0.1:{site.upstream}/
</VirtualHost>
"""
    return ["apache2", "-f", written(site.folder / "apache.conf", config), "-DFOREGROUND"]


def haproxy(site: Site) -> list[str]:
    """Return the command for HAProxy, which answers a large body before it has arrived."""
    verify = f"ca-file {site.client_ca} verify required" if site.client_ca is not None else ""
    oldest, newest = (
        "TLSv1.0" if version == "TLSv1" else version
        for version in (site.tls_versions[0], site.tls_versions[-1])
    )
    versions = f"ssl-min-ver {oldest} ssl-max-ver {newest} ciphers {ANY_CIPHER}"
    config = f"""
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 5s
    timeout http-keep-alive {KEEPALIVE_SECONDS}s
frontend pim
    bind 127.0.0.1:{site.plain}
    bind 127.0.0.1:{site.secure} ssl crt {site.certificate} {versions} {verify}
    http-request return status 413 if {{ req.hdr_val(content-length) gt {BODY_BYTES_MAX} }}
    {"filter compression" if site.packs else ""}
    {"compression algo gzip" if site.packs else ""}
    {"http-request set-header accept-encoding gzip" if site.packs else ""}
    default_backend pim
backend pim
    server pim 127.0.0.1:{site.upstream}
"""
    return ["haproxy", "-db", "-f", written(site.folder / "haproxy.cfg", config)]


def tinyproxy(folder: Path, port: int) -> list[str]:
    """Return the command for tinyproxy, which asks for a password."""
    config = f"""
Port {port}
Listen 127.0.0.1
Timeout 60
MaxClients 100
LogFile "{folder}/tinyproxy.log"
BasicAuth {USER} {PASSWORD}
"""
    return ["tinyproxy", "-d", "-c", written(folder / "tinyproxy.conf", config)]


def squid(folder: Path, port: int) -> list[str]:
    """Return the command for Squid, which asks for a password and has its users in a file."""
    folder.chmod(0o777)
    for parent in folder.parents:
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(parent.stat().st_mode | 0o055)
    digest = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
    users = written(folder / "users", f"{USER}:{digest}\n")
    config = f"""
http_port 127.0.0.1:{port}
auth_param basic program /usr/lib/squid/basic_ncsa_auth {users}
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
cache deny all
pid_filename none
access_log none
cache_log {folder}/squid.log
coredump_dir {folder}
shutdown_lifetime 0 seconds
"""
    return ["squid", "-N", "-f", written(folder / "squid.conf", config)]


Server = Callable[[Site], list[str]]
Proxy = Callable[[Path, int], list[str]]


def written(path: Path, text: str) -> str:
    """Write the file and return its name."""
    path.write_text(text)
    return str(path)


def free_port() -> int:
    """Return a port on which nothing listens now."""
    (port,) = free_ports(1)
    return port


@asynccontextmanager
async def running(command: list[str], *ports: int) -> AsyncIterator[None]:
    """Run the program until the block ends, and enter the block when it listens on all ports."""
    if shutil.which(command[0], path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
        pytest.skip(f"{command[0]} is not installed: .ci/tools does it")
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            for port in ports:
                await _listening(port, process)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await process.communicate()
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _listening(port: int, process: asyncio.subprocess.Process) -> None:
    while True:
        if process.returncode is not None:
            assert process.stderr is not None
            raise AssertionError((await process.stderr.read()).decode(errors="replace"))
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
