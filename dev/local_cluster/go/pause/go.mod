module tracking-operator.dev/pause

go 1.25.0
