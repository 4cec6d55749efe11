parser {
  include = ["rules/.*.yaml"]
}

checks {
  # The pool's rules read the node's from another group on purpose: their interval is
  # longer, and a value one scrape old is good enough there.
  disabled = ["rule/dependency"]
}

rule {
  # Recorded every 16 or 32 minutes, and read from other groups by last_over_time alone: a test holds them to it.
  match {
    name = "gateway:snat_(ports_held:count|forecast_ports_(mean:(seldom|far)_sum|variance:sum))"
  }
  disable = ["group/interval"]
}

rule {
  # The parts that these add up are divided by how often a node is told, which is once at least.
  match {
    name = "gateway:snat_.*|SnatGatewayExhaustionPredicted|SnatPortsExhausted"
  }
  disable = ["promql/nan"]
}
