parser {
  include = ["rules/.*.yaml"]
}

checks {
  # The pool's rules read the node's from another group on purpose: their interval is
  # longer, and a value one scrape old is good enough there.
  disabled = ["rule/dependency"]
}

rule {
  # Recorded every eight minutes, and read from other groups by last_over_time alone: a test holds them to it.
  match {
    name = "gateway:snat_(ports_held:count|forecast_ports_(mean:seldom_sum|variance:sum))"
  }
  disable = ["group/interval"]
}
