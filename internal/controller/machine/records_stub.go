package machine

type request struct{}
type sealed struct{}
