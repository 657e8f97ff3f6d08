package packages

// Sources are all addresses that products are taken from, beyond what a distribution has configured itself.
type Sources struct {
	Docker string // root of Docker's own repositories, without a slash at the end
}

// DefaultSources are the vendors' own addresses.
func DefaultSources() Sources {
	return Sources{Docker: "https://download.docker.com/linux"}
}
