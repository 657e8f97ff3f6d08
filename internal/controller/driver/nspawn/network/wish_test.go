package network

import (
	"net/netip"
	"testing"

	"mctl/internal/fault"
)

func TestNextAddress(t *testing.T) {
	subnet := netip.MustParsePrefix("10.1.2.0/28")
	address := func(last string) netip.Addr {
		if last == "" {
			return netip.Addr{}
		}
		return netip.MustParseAddr("10.1.2." + last)
	}
	all := []string{"2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14"}
	for name, c := range map[string]struct {
		last, pinned, keep string
		taken              []string
		want               string
		kind               fault.Kind
	}{
		"the first follows the controller's own":      {want: "2"},
		"the next follows the last":                   {last: "5", want: "6"},
		"what others have is left out":                {last: "5", taken: []string{"6", "7"}, want: "8"},
		"after the end comes the beginning":           {last: "14", want: "2"},
		"a pinned one is given whatever was last":     {last: "9", pinned: "4", want: "4"},
		"a pinned one that is taken is refused":       {pinned: "4", taken: []string{"4"}, kind: fault.Precondition},
		"one to keep is kept":                         {last: "9", keep: "5", want: "5"},
		"one to keep that is taken is not":            {last: "9", keep: "5", taken: []string{"5"}, want: "10"},
		"the only free one is found":                  {last: "9", taken: append(all[:0:0], all[1:]...), want: "2"},
		"when all are taken somebody must remove one": {last: "9", taken: all, kind: fault.Precondition},
		"a last one of another network does not harm": {last: "200", want: "2"},
	} {
		t.Run(name, func(t *testing.T) {
			taken := map[netip.Addr]string{}
			for _, last := range c.taken {
				taken[address(last)] = "other"
			}
			got, err := next(subnet, address(c.last), Wish{IP: address(c.pinned), Keep: address(c.keep)}, taken)
			if fault.KindOf(err) != c.kind || err == nil && got != address(c.want) {
				t.Errorf("got %v %v", got, err)
			}
		})
	}
}

func TestCandidatesAreManyAndEachControllersOwn(t *testing.T) {
	one, other := candidates("one"), candidates("other")
	if one[0] == other[0] {
		t.Error("two controllers try the same network first")
	}
	seen := map[netip.Prefix]bool{}
	for _, subnet := range one {
		if seen[subnet] || subnet != subnet.Masked() || !subnet.Addr().IsPrivate() || subnet.Bits() != 24 {
			t.Errorf("a bad candidate: %v", subnet)
		}
		seen[subnet] = true
	}
	if len(seen) != 768 {
		t.Errorf("%d candidates", len(seen))
	}
}

func TestWishesThatDoNotFit(t *testing.T) {
	subnet := netip.MustParsePrefix("10.1.2.0/24")
	for _, wish := range []Wish{
		{Subnet: netip.MustParsePrefix("10.1.3.0/24")}, {Subnet: netip.MustParsePrefix("10.1.2.0/25")},
		{IP: netip.MustParseAddr("10.1.3.4")}, {IP: netip.MustParseAddr("10.1.2.1")}, {IP: netip.MustParseAddr("10.1.2.255")},
	} {
		if err := wish.fits(subnet); !fault.Is(err, fault.Precondition) || fault.HintOf(err) == "" {
			t.Errorf("%+v: %v", wish, err)
		}
	}
	if err := (Wish{Subnet: subnet, IP: netip.MustParseAddr("10.1.2.254")}).fits(subnet); err != nil {
		t.Error(err)
	}
}
