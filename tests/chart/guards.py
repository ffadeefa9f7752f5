"""Values that must be refused: those that are wrong by themselves, and those that would lose or double data together."""

import yaml

from tools import check, refused

# Each with words of the sentence that says so. Guards name the two values in conflict.
GUARDS = [
    ("mode=pushgateway with replicaCount", "{mode: pushgateway, replicaCount: 2}"),
    ("auth.enabled=true with neither", "{auth: {enabled: true}}"),
    ("next to auth.existingSecret", "{auth: {enabled: true, existingSecret: a, users: {u: {rights: [push]}}}}"),
    ("auth.enabled=false", "{auth: {existingSecret: a}}"),
    ("auth.enabled=false", "{auth: {users: {u: {rights: [push]}}}}"),
    ("tls.enabled=true with neither", "{tls: {enabled: true}}"),
    ("without tls.certManager.issuerRef.name", "{tls: {enabled: true, certManager: {enabled: true}}}"),
    ("tls.existingSecret and tls.certManager.enabled",
     "{tls: {enabled: true, existingSecret: a, certManager: {enabled: true, issuerRef: {name: i}}}}"),
    ("with tls.enabled=false", "{tls: {existingSecret: a}}"),
    ("webConfig.tls_server_config with tls.enabled=false", "{webConfig: {tls_server_config: {}}}"),
    ("existingConfigMap with tls, auth or webConfig", "{existingConfigMap: a, tls: {enabled: true, existingSecret: b}}"),
    ("config.auth.file and auth", "{config: {auth: {file: /x}}}"),
    ("persistence.existingClaim with replicaCount", "{replicaCount: 2, persistence: {existingClaim: old}}"),
    ("kind=Deployment and store.type=disk with replicaCount", "{replicaCount: 2, kind: Deployment}"),
    ("deployment.strategy.type=RollingUpdate with store.type=disk",
     "{kind: Deployment, deployment: {strategy: {type: RollingUpdate}}}"),
    ("persistence.existingClaim with store.type=memory", "{store: {type: memory}, persistence: {existingClaim: old}}"),
    ("persistence.existingClaim with persistence.enabled=false",
     "{persistence: {enabled: false, existingClaim: old}}"),
    ("ports.http and ports.telemetry", "{ports: {http: 9092}}"),
    ("config.web.management_address and ports.telemetry", "{config: {web: {management_address: ':1'}}}"),
    ("config.web.listen_address and ports.http", "{config: {web: {listen_address: [':1']}}}"),
    ("config.web.route_prefix and webPrefix", "{config: {web: {route_prefix: /x}}}"),
    ("config.log.level and logLevel", "{config: {log: {level: debug}}}"),
    ("config.mode and mode", "{config: {mode: aggregate}}"),
    ("existingConfigMap and config exclude", "{existingConfigMap: own, config: {ttl: {default: 1h}}}"),
    ("terminationGracePeriodSeconds=15 is not above", "{terminationGracePeriodSeconds: 15}"),
    ("terminationGracePeriodSeconds=60 is not above", "{config: {web: {drain_delay: 49500ms}}}"),
    ("terminationGracePeriodSeconds=60 is not above", "{config: {web: {drain_delay: 1m, shutdown_timeout: 1s}}}"),
    ("minAvailable and podDisruptionBudget.maxUnavailable exclude",
     "{replicaCount: 3, podDisruptionBudget: {minAvailable: 1, maxUnavailable: 1}}"),
    ("minAvailable=1 with replicaCount=1", "{podDisruptionBudget: {enabled: true, minAvailable: 1}}"),
    ("minAvailable=50% with replicaCount=1", "{podDisruptionBudget: {enabled: true, minAvailable: 50%}}"),
    ("minAvailable=100% with replicaCount=3", "{replicaCount: 3, podDisruptionBudget: {minAvailable: 100%}}"),
    ("minAvailable=3 with replicaCount=3", "{replicaCount: 3, podDisruptionBudget: {minAvailable: 3}}"),
    ("serviceMonitor.enabled and podMonitor.enabled", "{serviceMonitor: {enabled: true}, podMonitor: {enabled: true}}"),
    ("scrapeAnnotations.enabled next to", "{serviceMonitor: {enabled: true}, scrapeAnnotations: {enabled: true}}"),
    ("ingress.enabled=true with no ingress.hosts", "{ingress: {enabled: true}}"),
]

# Refused by the schema: misspelt, or of the wrong kind.
SCHEMA = [
    "{auth: {users: {a: {rights: [push], password: secret}}}}", "{webConfig: {basic_auth_users: {a: b}}}",
    "{auth: {users: {a: {rights: [push], password_bcrypt: secret}}}}", "{auth: {users: {a: {rights: [all]}}}}",
    "{tls: {minVersion: TLS11}}", "{auth: {users: {a: {rights: [push], token_file: x}}}}",
    "{replicas: 2}", "{replicaCount: two}", "{replicaCount: -1}", "{image: {tags: x}}", "{image: {digest: abc}}",
    "{kind: DaemonSet}", "{store: {type: redis}}", "{autoscaling: {enabled: true}}", "{mode: push}",
    "{config: {ttl: {defualt: 1h}}}", "{config: {limit: {series: 1}}}", "{config: {push: {delete: maybe}}}",
    "{service: {type: ExternalName}}", "{service: {port: 0}}", "{persistence: {size: big}}", "{logLevel: loud}",
    "{webPrefix: no-slash}", "{externalURL: metrics.example.com}", "{serviceMonitor: {interval: soon}}",
    "{prometheusRule: {rules: {Dwon: {enabled: true}}}}", "{prometheusRule: {rules: {Down: {threshold: 1}}}}",
    "{route: {a: {enabled: true}}}", "{podDisruptionBudget: {enabled: sometimes}}", "{resources: {limit: {}}}",
    "{extraVolumes: [{emptyDir: {}}]}", "{ingress: {hosts: [{paths: [{path: x}]}]}}", "{livenessProbe: {path: /x}}",
]

# These look alike, and are fine.
ACCEPTED = [
    "{replicaCount: 0}", "{replicaCount: 3, podDisruptionBudget: {minAvailable: 2}}",
    "{terminationGracePeriodSeconds: 16}", "{podDisruptionBudget: {minAvailable: 1}}",
    "{kind: Deployment, deployment: {strategy: {type: Recreate}}}", "{kind: StatefulSet, store: {type: memory}}",
    "{store: {type: memory}, replicaCount: 2, deployment: {strategy: {type: RollingUpdate}}}",
    "{config: {push: {success_code: '202'}}}", "{global: {anything: else}}",
    "{replicaCount: 2, persistence: {enabled: false}}",
]


def run_all():
    for words, text in GUARDS:
        with check(f"refused: {text}"):
            reason = refused(yaml.safe_load(text))
            assert reason, "it was rendered"
            assert words in reason, reason
    for text in SCHEMA:
        with check(f"not in the schema: {text}"):
            reason = refused(yaml.safe_load(text))
            assert reason, "it was rendered"
            assert "- at '" in reason, reason
    for text in ACCEPTED:
        with check(f"accepted: {text}"):
            reason = refused(yaml.safe_load(text))
            assert not reason, reason
