#!/usr/bin/env python3
"""TLS as others speak it: Python's ssl, gRPC's own client and OpenAI's SDK against a real server that
asks for certificates. Those are made by the openssl command for this run."""

import http.client
import pathlib
import shutil
import ssl
import subprocess
import sys
import tempfile

import ebb_server

SKIPPED = 77


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def make_authority(directory, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
            "1", "-subj", f"/CN={name}", "-keyout", f"{directory}/{name}.key", "-out",
            f"{directory}/{name}.crt")


def make_certificate(directory, authority, name):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            f"/CN={name}", "-keyout", f"{directory}/{name}.key", "-out", f"{directory}/{name}.csr")
    extensions = pathlib.Path(directory) / f"{name}.ext"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    openssl("x509", "-req", "-in", f"{directory}/{name}.csr", "-CA", f"{directory}/{authority}.crt",
            "-CAkey", f"{directory}/{authority}.key", "-CAcreateserial", "-days", "1", "-extfile",
            str(extensions), "-out", f"{directory}/{name}.crt")
    (pathlib.Path(directory) / f"{name}.key").chmod(0o600)


def check_http(address, directory):
    host, port = address.rsplit(":", 1)

    def status(context):
        connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)
        connection.request("GET", "/health/ready")
        return connection.getresponse().status

    context = ssl.create_default_context(cafile=f"{directory}/authority.crt")
    try:
        status(context)
        raise AssertionError("served without a certificate")
    except (ssl.SSLError, ConnectionError):
        pass
    context.load_cert_chain(f"{directory}/anna.crt", f"{directory}/anna.key")
    assert status(context) == 200
    return context


def check_openai(address, context):
    import openai  # pylint: disable=import-outside-toplevel
    with openai.DefaultHttpxClient(verify=context) as http_client:
        client = openai.OpenAI(base_url=f"https://{address}/v1", api_key="none",
                               http_client=http_client, max_retries=0)
        model = client.models.list().data[0].id
        stream = client.completions.create(model=model, prompt="Once", max_tokens=5, stream=True)
        assert sum(1 for _ in stream) >= 1


def check_grpc(address, directory):
    import grpc  # pylint: disable=import-outside-toplevel

    def read(name):
        return (pathlib.Path(directory) / name).read_bytes()

    def health(credentials):
        with grpc.secure_channel(address, credentials) as channel:
            # The messages of grpc.health.v1 as bytes: an empty request, and status SERVING.
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            return check(b"", timeout=30)

    try:
        health(grpc.ssl_channel_credentials(read("authority.crt")))
        raise AssertionError("served without a certificate")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE, error
    own = grpc.ssl_channel_credentials(read("authority.crt"), read("anna.key"), read("anna.crt"))
    assert health(own) == b"\x08\x01"


def main():
    options = ebb_server.arguments(__doc__)
    if shutil.which("openssl") is None:
        print("the openssl command is not there", file=sys.stderr)
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as directory:
        make_authority(directory, "authority")
        make_authority(directory, "clients")
        make_certificate(directory, "authority", "server")
        make_certificate(directory, "clients", "anna")
        settings = [f"security.tls_certificate_file={directory}/server.crt",
                    f"security.tls_key_file={directory}/server.key",
                    f"security.tls_client_ca_file={directory}/clients.crt"]
        with ebb_server.Server(options, *settings) as server:
            context = check_http(server.http, directory)
            check_openai(server.http, context)
            check_grpc(server.grpc, directory)


if __name__ == "__main__":
    main()
