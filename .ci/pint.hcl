parser {
  include = ["rules/.*.yaml"]
}

checks {
  # The pool's rules read the node's from another group on purpose: their interval is
  # longer, and a value one scrape old is good enough there.
  disabled = ["rule/dependency"]
}
