"""Whether the files of deploy/ agree with each other and with the code's own reference, which no validator knows.

Enters: the files, docs/configuration.md and the plugins' READMEs. Leaves: a line for each thing that is wrong, and a status.
Never: writes anything, or asks anybody.
"""

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
# Set for the sake of those above, and read by nothing of ours but ${…}.
OTHERS = {"NODE_NAME", "HOSTNAME"}
wrong = []


def ought(holds, line):
    if not holds:
        wrong.append(line)


def read(path):
    return (DEPLOY / path).read_text()


def known():
    """The variables that the references name."""
    pages = [ROOT / "docs/configuration.md", *ROOT.glob("plugins/*/README.md")]
    rows = "".join(line for page in pages for line in page.read_text().splitlines(True) if line.startswith("| `"))
    return set(re.findall(r"`([A-Z][A-Z0-9_]+)`", rows))


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|m)?", str(text)).groups()
    return int(number) * (60 if unit == "m" else 1)


def default(name):
    return re.search(rf"^\| `{name}` \|[^|]*\| `?([^`|]*)`?", (ROOT / "docs/configuration.md").read_text(), re.M)[1].strip()


def compose(variables, shutdown):
    text = read("compose.yaml")
    file = yaml.safe_load(text)
    example = set(re.findall(r"^# ([A-Z][A-Z0-9_]+)=", read(".env.example"), re.M))
    spools = set()
    for name, service in file["services"].items():
        for volume in service.get("volumes", []):
            source, target = (volume["source"], volume["target"]) if isinstance(volume, dict) else volume.split(":")[:2]
            if source.startswith("./"):
                ought((DEPLOY / source).exists(), f"compose.yaml: {name} mounts {source}, which is not there")
            elif not source.startswith(("/", "$")):
                ought(source in file["volumes"], f"compose.yaml: {name} mounts the volume {source}, which is not declared")
            if target == "/var/spool/monitor-host":
                spools.add(source)
        for port in service.get("ports", []):
            ought(port.startswith("127.0.0.1:"), f"compose.yaml: {name} is open to the network: {port}")
        ought(service.get("cap_drop") == ["ALL"], f"compose.yaml: {name} keeps capabilities")
        ought(re.search(r":v?\d+\.\d+\.\d+$", service["image"]) or "build" in service, f"compose.yaml: {service['image']} is not pinned")
        if "build" not in service:
            continue
        environment = service["environment"]
        ought(environment.get("EXTERNAL_LABELS", "").endswith(":-host=demo}"), f"compose.yaml: {name} does not tell its host")
        ought(service["read_only"] and service["mem_limit"], f"compose.yaml: {name} is not as hard as the others")
        ought(seconds(service["stop_grace_period"]) > shutdown, f"compose.yaml: {name} is killed before SHUTDOWN_TIMEOUT_S")
        ought(f" AS {service['build']['target']}\n" in (ROOT / "Dockerfile").read_text(), f"compose.yaml: no target for {name}")
        for variable in set(environment) - variables:
            wrong.append(f"compose.yaml: {name} sets {variable}, which nothing reads")
    ought(len(spools) == sum("build" in service for service in file["services"].values()), "compose.yaml: clients share a spool")
    for variable in set(re.findall(r"\$\{([A-Z0-9_]+)", text)) - example:
        wrong.append(f".env.example does not name {variable}, which compose.yaml reads")
    for readme in ROOT.glob("plugins/*/README.md"):
        rows = re.findall(r"^\| (`[A-Z][A-Z0-9_]+`[^|]*)\|", readme.read_text(), re.M)
        own = {variable for row in rows for variable in re.findall(r"`([A-Z][A-Z0-9_]+)`", row)}
        for variable in own - example - set(file["services"]["rapl"]["environment"]):
            wrong.append(f".env.example does not name {variable}, a setting of {readme.parent.name}")
    dashboards = file["services"]["grafana"]
    provider = yaml.safe_load(read("grafana/provisioning/dashboards/monitor-host.yaml"))["providers"][0]["options"]["path"]
    ought(f"./grafana/dashboards:{provider}:ro" in dashboards["volumes"], "Grafana looks for dashboards where none are mounted")
    home = dashboards["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].removeprefix(provider + "/")
    ought((DEPLOY / "grafana/dashboards" / home).is_file(), f"Grafana's home is {home}, which is not there")
    source = yaml.safe_load(read("grafana/provisioning/datasources/prometheus.yaml"))["datasources"][0]
    ought(source["url"] == "http://prometheus:9090", f"Grafana's source is {source['url']}")


def kubernetes(variables, shutdown):
    for folder in sorted((DEPLOY / "kubernetes").iterdir()):
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        for resource in kustomization["resources"]:
            ought((folder / resource).exists(), f"{folder.name}: no {resource}")
        # kustomize takes no folder that the one it began with lies in.
        ought(".." not in kustomization["resources"], f"{folder.name}: a base must not hold its overlay")
        pod = yaml.safe_load((folder / "daemonset.yaml").read_text())["spec"]["template"]["spec"]
        container = pod["containers"][0]
        ought(pod["terminationGracePeriodSeconds"] > shutdown, f"{folder.name}: it is killed before SHUTDOWN_TIMEOUT_S")
        ought(container["livenessProbe"]["httpGet"]["path"] == "/live", f"{folder.name}: an outage would restart it")
        ought(pod["automountServiceAccountToken"] is False, f"{folder.name}: it gets a token of the cluster's")
        ought(container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, f"{folder.name}: it keeps capabilities")
        mounted, declared = ({item["name"] for item in items} for items in (container["volumeMounts"], pod["volumes"]))
        ought(mounted == declared, f"{folder.name}: mounted are {mounted}, declared {declared}")
        for variable in {entry["name"] for entry in container["env"]} - variables - OTHERS:
            wrong.append(f"{folder.name}: it sets {variable}, which nothing reads")
    config = yaml.safe_load(read("kubernetes/rapl/configmap.yaml"))["data"]
    ought(config["EXTERNAL_LABELS"] == "host=${NODE_NAME}", "configmap.yaml does not tell the host")
    for variable in set(config) - variables:
        wrong.append(f"configmap.yaml: it sets {variable}, which nothing reads")


def systemd(variables, shutdown):
    unit = read("systemd/monitor-host.service")
    ought(int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.M)[1]) > shutdown, "the unit is killed before SHUTDOWN_TIMEOUT_S")
    files = {path.name: path.read_text() for path in (DEPLOY / "systemd").iterdir() if path.suffix in (".service", ".conf")}
    for name, text in files.items():
        for line in re.findall(r"^Environment=(.*)$", text, re.M):
            for variable in {pair.split("=")[0] for pair in line.split()} - variables - OTHERS:
                wrong.append(f"{name}: it sets {variable}, which nothing reads")


def headers():
    """Each file says what it is before it says anything else."""
    for path in sorted(DEPLOY.rglob("*")):
        if path.suffix in (".yaml", ".conf", ".service"):
            ought(path.read_text().startswith("# "), f"{path.relative_to(ROOT)}: no comment says what it is")


def main():
    variables = known()
    shutdown = int(default("SHUTDOWN_TIMEOUT_S").split()[0])
    window = yaml.safe_load(read("prometheus/prometheus.yaml"))["storage"]["tsdb"]["out_of_order_time_window"]
    spool = int(default("SPOOL_MAX_AGE_S").split()[0])
    ought(window == f"{spool // 86400}d", f"prometheus.yaml takes samples {window} late, a spool keeps them {spool} s")
    compose(variables, shutdown)
    kubernetes(variables, shutdown)
    systemd(variables, shutdown)
    headers()
    print("\n".join(wrong))
    return bool(wrong)


sys.exit(main())
