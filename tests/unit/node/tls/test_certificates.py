"""Pairs of files, good and bad, and how they are replaced under running connections."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from node.stats import Stats
from node.tls import CertificateError, Certificates, build_context
from node.tls.certificates import CHECK_EVERY
from tls_rig import Issued, tls_serving
from wire import Recorder

if TYPE_CHECKING:
    from pathlib import Path

GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    return Issued(tmp_path / "tls")


def test_what_a_context_allows(issued: Issued) -> None:
    context = build_context(issued.cert, issued.key)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


class TestBadPairs:
    """One line that says what is wrong; never a question on the terminal."""

    def test_a_key_of_another_certificate(self, issued: Issued, tmp_path: Path) -> None:
        other = Issued(tmp_path / "other")
        with pytest.raises(CertificateError, match="belongs to another certificate"):
            build_context(issued.cert, other.key)

    def test_a_file_that_is_not_there(self, issued: Issued, tmp_path: Path) -> None:
        for cert, key in ((tmp_path / "none", issued.key), (issued.cert, tmp_path / "none")):
            with pytest.raises(CertificateError, match="none: No such file"):
                build_context(cert, key)

    def test_files_that_are_no_pem(self, issued: Issued) -> None:
        with pytest.raises(CertificateError, match="no private key"):
            build_context(issued.cert, issued.cert)
        with pytest.raises(CertificateError, match="no certificate"):
            build_context(issued.key, issued.key)

    def test_half_a_file(self, issued: Issued) -> None:
        pem = issued.cert.read_bytes()
        issued.cert.write_bytes(pem[: len(pem) // 2])
        with pytest.raises(CertificateError, match="are no pair"):
            build_context(issued.cert, issued.key)

    def test_an_encrypted_key(self, issued: Issued) -> None:
        from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415

        key = s.load_pem_private_key(issued.key.read_bytes(), None)
        issued.key.write_bytes(
            key.private_bytes(
                s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"secret")
            )
        )
        with pytest.raises(CertificateError, match="is encrypted"):
            build_context(issued.cert, issued.key)


class TestReloading:
    """What SIGHUP and the watch do."""

    async def test_new_connections_see_the_new_one(self, issued: Issued) -> None:
        handler = Recorder()
        async with tls_serving(issued, handler) as it:
            old = await it.connect()
            before = old.tls.getpeercert(binary_form=True)
            renewed = issued.issue()
            assert await it.listener.certificates.reload()
            new = await it.connect()
            assert new.tls.getpeercert(binary_form=True) == renewed != before
            for client in (old, new):  # nobody has been dropped
                await client.send(GET)
                assert (await client.response())[0] == 200
            assert it.served.stats.tls_reloads == {"ok": 1}

    async def test_a_handshake_under_way_goes_on_with_the_old(self, issued: Issued) -> None:
        async with tls_serving(issued, Recorder()) as it:
            client = it.begin()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.tls.do_handshake)
                await trio.testing.wait_all_tasks_blocked()
                issued.issue()
                await it.listener.certificates.reload()
            await client.send(GET)
            assert (await client.response())[0] == 200

    async def test_a_bad_pair_is_refused_and_the_old_kept(self, issued: Issued) -> None:
        async with tls_serving(issued, Recorder()) as it:
            good = issued.cert.read_bytes()
            issued.cert.write_bytes(good[: len(good) // 2])
            with capture_logs() as logs:
                assert not await it.listener.certificates.reload()
            assert [entry["event"] for entry in logs] == ["certificate_refused"]
            assert str(issued.cert) in logs[0]["error"]
            client = await it.connect()
            await client.send(GET)
            assert (await client.response())[0] == 200
            assert it.served.stats.tls_reloads == {"refused": 1}

    async def test_the_files_are_watched(
        self, issued: Issued, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
    ) -> None:
        stats = Stats()
        certificates = Certificates(issued.cert, issued.key, stats)
        first = certificates.context
        nursery.start_soon(certificates.watch)
        await trio.sleep(3 * CHECK_EVERY + 1)
        assert stats.tls_reloads == {}
        pem = issued.cert.read_bytes()
        issued.issue()
        issued.cert.write_bytes(pem)  # the key has come, its certificate not yet
        with capture_logs() as logs:
            await trio.sleep(3 * CHECK_EVERY)
            while not stats.tls_reloads:
                await trio.sleep(1)
        assert stats.tls_reloads == {"refused": 1}  # told once, not every minute
        assert len(logs) == 1
        assert certificates.context is first
        issued.issue()
        await trio.sleep(CHECK_EVERY)
        while stats.tls_reloads["ok"] == 0:
            await trio.sleep(1)
        assert certificates.context is not first
        issued.key.unlink()
        await trio.sleep(2 * CHECK_EVERY)
        while stats.tls_reloads["refused"] < 2:
            await trio.sleep(1)
        assert stats.tls_reloads == {"ok": 1, "refused": 2}

    def test_a_bad_first_pair(self, issued: Issued) -> None:
        issued.key.unlink()
        with pytest.raises(CertificateError):
            Certificates(issued.cert, issued.key, Stats())


class TestTheEnd:
    """Until when the certificate is valid, for metrics."""

    async def test_it_is_known_from_the_start_and_after_a_reload(
        self, issued: Issued, tmp_path: Path
    ) -> None:
        stats = Stats()
        certificates = Certificates(issued.cert, issued.key, stats)
        first = stats.certificate_ends
        assert first is not None
        newer = Issued(tmp_path / "newer", not_after=datetime(2040, 1, 1, tzinfo=UTC))
        issued.key.write_bytes(newer.key.read_bytes())
        issued.cert.write_bytes(newer.cert.read_bytes())
        assert await certificates.reload()
        assert stats.certificate_ends == datetime(2040, 1, 1, tzinfo=UTC).timestamp() != first
