"""The certificate: what is said of one that cannot be used, and when it is read again."""

from __future__ import annotations

import logging
import os
import re
import shutil
import ssl
from pathlib import Path

import pytest

from cluster.core.errors import EnvironmentFault
from cluster.net.tls_certificate import Certificate
from support.tls import CertificateFiles, make_certificate


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return make_certificate(tmp_path)


def _replace(file: Path, content: Path, stamp: int) -> None:
    """As a tool that renews certificates does: another file takes the name."""
    new = file.with_suffix(".new")
    shutil.copyfile(content, new)
    os.utime(new, ns=(stamp, stamp))
    new.replace(file)


def test_a_good_certificate_is_served_from_tls_1_2_on(
    files: CertificateFiles, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Certificate(files.cert, files.key)
    assert certificate.context.minimum_version is ssl.TLSVersion.TLSv1_2
    certificate.warn()
    assert not caplog.records


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda files: files.cert.unlink(), "--tls-cert {cert}: No such file or directory"),
        (lambda files: files.key.unlink(), "--tls-key {key}: No such file or directory"),
        (lambda files: files.cert.write_text("no"), "--tls-cert {cert}: there is no PEM certificate in it"),
        (lambda files: files.key.write_text(""), "--tls-key {key}: there is no PEM private key in it"),
        (
            lambda files: files.cert.write_text("-----BEGIN CERTIFICATE-----\nno\n"),
            "--tls-cert {cert} and --tls-key {key}: not usable (",
        ),
        (
            lambda files: make_certificate(files.key.parent, "other").key.replace(files.key),
            "--tls-key {key}: it does not belong to the certificate in --tls-cert {cert}",
        ),
        (
            lambda files: make_certificate(files.key.parent, files.key.stem, passphrase=b"secret"),
            "--tls-key {key}: it is encrypted; give a key without a passphrase",
        ),
        (
            lambda files: (files.cert.unlink(), files.cert.mkdir()),
            "--tls-cert {cert}: Is a directory",
        ),
    ],
    ids=[
        "no cert", "no key", "cert not PEM", "key not PEM", "cert cut", "other key", "passphrase",
        "directory",
    ],
)  # fmt: skip
def test_one_that_cannot_be_used_is_an_environment_fault_that_says_why(
    files: CertificateFiles, break_it: object, message: str
) -> None:
    break_it(files)  # type: ignore[operator]
    with pytest.raises(EnvironmentFault, match=re.escape(message.format(cert=files.cert, key=files.key))):
        Certificate(files.cert, files.key)


@pytest.mark.parametrize(
    ("days", "problem"),
    [((-10, -1), "certificate has expired"), ((1, 10), "certificate is not yet valid")],
)
def test_one_out_of_its_time_is_served_with_a_warning(
    tmp_path: Path, days: tuple[int, int], problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = make_certificate(tmp_path, days_from_now=days)
    Certificate(files.cert, files.key).warn()
    (record,) = caplog.records
    assert problem in record.getMessage()
    assert record.event == "certificate_warning"  # type: ignore[attr-defined]


def test_a_change_is_read_once_it_stands_still(
    tmp_path: Path, files: CertificateFiles, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Certificate(files.cert, files.key)
    other = make_certificate(tmp_path, "other")
    first = certificate.context
    with caplog.at_level(logging.INFO):
        certificate.refresh()
        _replace(files.cert, other.cert, 1)
        certificate.refresh()  # the key is still the old one: nothing is tried, nothing is said
        _replace(files.key, other.key, 2)
        certificate.refresh()
        assert certificate.context is first
        certificate.refresh()
        assert certificate.context is not first
        second = certificate.context
        certificate.refresh()
        certificate.refresh()
    assert certificate.context is second
    assert [record.event for record in caplog.records] == ["certificate_reloaded"]  # type: ignore[attr-defined]
    assert re.search(r"good until \w+ +\d+ .* GMT", caplog.text)


@pytest.mark.parametrize("how", ["other key", "gone"])
def test_a_bad_change_keeps_the_old_one_and_is_said_once(
    tmp_path: Path, files: CertificateFiles, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Certificate(files.cert, files.key)
    first = certificate.context
    other = make_certificate(tmp_path, "other")
    if how == "gone":
        files.key.unlink()
    else:
        _replace(files.key, other.key, 1)
    for _ in range(5):
        certificate.refresh()
    assert certificate.context is first
    assert [record.event for record in caplog.records] == ["certificate_refused"]  # type: ignore[attr-defined]
    _replace(files.cert, other.cert, 2)
    _replace(files.key, other.key, 3)
    certificate.refresh()
    certificate.refresh()
    assert certificate.context is not first


def test_a_change_to_one_that_has_expired_is_warned_of(
    tmp_path: Path, files: CertificateFiles, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Certificate(files.cert, files.key)
    other = make_certificate(tmp_path, "other", days_from_now=(-3, -1))
    _replace(files.cert, other.cert, 1)
    _replace(files.key, other.key, 2)
    certificate.refresh()
    certificate.refresh()
    assert "certificate has expired" in caplog.text
