"""`[mqtt]`."""

from typing import Annotated, Literal

from msgspec import Meta

from penstock.config._section import Count, Positive, Section
from penstock.core.secrets import Secret


class MqttProject(Section, frozen=True):
    """`[mqtt.projects.NAME]`: a project, whose topics begin with its name. Write this table for
    each instead of the list `projects`.
    """

    system_prompt: Annotated[
        str, Meta(description="System prompt of new sessions that bring none of their own.")
    ] = ""
    model: Annotated[
        str, Meta(description="Answers requests that name no model; empty: the default model does.")
    ] = ""
    key: Annotated[
        Secret | None,
        Meta(description="The key whose rights, limits and sessions the project's requests have."),
    ] = None


ProjectName = Annotated[str, Meta(pattern=r"^[^/+#$\s\x00-\x1f]+$")]


class Mqtt(Section, frozen=True):
    """The bridge to an MQTT broker, for clients that speak nothing else. Needs the extra `mqtt`."""

    url: Annotated[
        str, Meta(description="`mqtt://HOST:PORT`, or `mqtts://` with TLS; empty: no bridge.")
    ] = ""
    username: Annotated[str, Meta(description="Name for the broker.")] = ""
    password: Annotated[Secret | None, Meta(description="Its password.")] = None
    projects: Annotated[
        tuple[ProjectName, ...] | dict[ProjectName, MqttProject],
        Meta(
            description="Names of projects; or a table `[mqtt.projects.NAME]` for each instead. "
            "The first one's `status` topic says whether the bridge is there."
        ),
    ] = ("general",)
    legacy: Annotated[
        tuple[str, ...],
        Meta(
            description="Prefixes of the older protocol: `PREFIX/session`, "
            "`PREFIX/user_input/SESSION`. A project of that name gives it prompt, model and key."
        ),
    ] = ("llama",)
    client_id: Annotated[
        str,
        Meta(
            description="How the broker knows the bridge, and keeps its messages while it is away; "
            "no two may have the same. Default: made of this machine's name and the folder of the "
            "stream log."
        ),
    ] = ""
    ca_file: Annotated[
        str, Meta(description="Certificates to trust with `mqtts:`; default: the system's.")
    ] = ""
    protocol: Annotated[
        Literal["5", "3.1.1"],
        Meta(description="Version of MQTT; a broker that refuses 5 is asked again with 3.1.1."),
    ] = "5"
    max_waiting: Annotated[
        Count, Meta(description="Requests at a time; one more is answered `overloaded`.")
    ] = 1000
    max_payload_bytes: Annotated[Count, Meta(description="Largest request; more is refused.")] = (
        1024 * 1024
    )
    requests_per_minute: Annotated[
        int, Meta(ge=0, description="Requests of one session in a minute; 0: no limit.")
    ] = 0
    heartbeat_seconds: Annotated[
        Positive, Meta(description="How often the status topic says that the bridge is there.")
    ] = 30.0
    keep_state_seconds: Annotated[
        Positive,
        Meta(description="How long after its end a stream's last event stays with the broker."),
    ] = 600.0

    def project(self, name: str) -> MqttProject:
        """The settings of a project; of one that has no table, the defaults."""
        return self.projects.get(name, _PLAIN) if isinstance(self.projects, dict) else _PLAIN


_PLAIN = MqttProject()
