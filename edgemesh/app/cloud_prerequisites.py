"""What a node needs to join its cloud, looked at without asking the cloud."""

from __future__ import annotations

from edgemesh.app.prerequisites import Check, State
from edgemesh.bus.edgehub.credentials import identity_folder, read_token
from edgemesh.bus.pki.checks import check_node
from edgemesh.bus.pki.identity import Identity, has_identity, own_certificate
from edgemesh.bus.pki.problems import CertificateProblem, clock_now, name_of, validity
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import Settings


def check_identity(settings: Settings) -> Check:
    """Whether the node has a certificate, or a token to get one with.

    Blocks: reads files.
    """
    identity = Identity.within(identity_folder(settings.state_dir), settings.node)
    problem = f"node {settings.node} has no certificate yet"
    if has_identity(identity):
        try:
            certificate = own_certificate(identity)
            check_node(certificate, settings.node)
        except CertificateProblem as error:
            problem = str(error)
        else:
            now, end = clock_now(), certificate.not_valid_after_utc
            if certificate.not_valid_before_utc <= now <= end:
                return Check("cloud", State.MET, f"{name_of(certificate)} until {end:%FT%TZ}")
            problem = f"{name_of(certificate)} {validity(certificate, now)}"
    try:
        read_token(settings.bus, settings.node)
    except OperatorError as error:
        return Check("cloud", State.LACKING, f"{problem}, and {error.problem}", error.remedy)
    return Check("cloud", State.MET, f"{problem}; there is a token to enrol with")
