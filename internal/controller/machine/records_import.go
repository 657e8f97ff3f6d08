package machine

import recordv1 "mctl/proto/mctl/record/v1"

func (c codec) encodeImport(key string, i *Import) (*recordv1.Import, error) {
	if i == nil {
		return nil, nil
	}
	config, err := c.seal(key, i.Config)
	if err != nil {
		return nil, err
	}
	serverKey, err := c.seal(key, i.ServerKey)
	return &recordv1.Import{
		Source: i.Source, SealedConfig: config, StorePath: i.StorePath, ServerCertificate: i.ServerCertificate, SealedServerKey: serverKey,
	}, err
}

// decodeImport leaves out what is sealed.
func decodeImport(r *recordv1.Import) *Import {
	if r == nil {
		return nil
	}
	return &Import{Source: r.GetSource(), StorePath: r.GetStorePath(), ServerCertificate: r.GetServerCertificate()}
}

func (c codec) openImport(key string, r *recordv1.Import, i *Import) error {
	if i == nil {
		return nil
	}
	config, err := c.open(key, r.GetSealedConfig())
	if err != nil {
		return err
	}
	serverKey, err := c.open(key, r.GetSealedServerKey())
	i.Config, i.ServerKey = config, serverKey
	return err
}
