package host

import "testing"

func TestADigestIsOfTheWishAlone(t *testing.T) {
	wish := Desired{Generation: 1, Engine: Engine{Labels: []string{"a=b"}}, Front: Front{Port: 2376, SANs: []string{"web"}}}
	same := wish
	same.Generation, same.Engine.RepositoryReachable = 7, true
	if wish.Digest() != same.Digest() {
		t.Error("the generation, or what was observed, changes it")
	}
	for name, change := range map[string]func(*Desired){
		"label":    func(d *Desired) { d.Engine.Labels = []string{"a=c"} },
		"name":     func(d *Desired) { d.Front.SANs = []string{"web", "192.0.2.1"} },
		"rotation": func(d *Desired) { d.Front.Rotation++ },
		"upgrade":  func(d *Desired) { d.Engine.Upgrade++ },
		"release":  func(d *Desired) { d.Release = &Release{} },
	} {
		other := wish
		change(&other)
		if wish.Digest() == other.Digest() {
			t.Errorf("another %s does not change it", name)
		}
	}
}
