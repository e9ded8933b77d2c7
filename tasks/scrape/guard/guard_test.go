package guard_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/faena-dev/faena/tasks/scrape/guard"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, a := range []string{
		"0.0.0.0", "0.1.2.3", "10.1.2.3", "127.0.0.1", "127.255.0.1", "100.64.0.1", "100.100.100.200", "169.254.169.254", "168.63.129.16",
		"172.16.0.1", "172.31.255.255", "192.168.1.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1",
		"240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "fe80::1", "fe80::1%eth0",
		"fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1",
		"3fff::1", "100::1", "4000::1",
	} {
		if err := guard.Check(netip.MustParseAddr(a)); !errors.Is(err, guard.ErrRefused) {
			t.Errorf("Check(%s) = %v, want it refused", a, err)
		}
	}
	for _, a := range []string{
		"1.1.1.1", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.0", "172.32.0.1", "192.169.0.1",
		"2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8",
	} {
		if err := guard.Check(netip.MustParseAddr(a)); err != nil {
			t.Errorf("Check(%s) = %v, want nil", a, err)
		}
	}
	if err := guard.Check(netip.Addr{}); !errors.Is(err, guard.ErrRefused) {
		t.Errorf("Check(zero) = %v, want it refused", err)
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	for address, refused := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "8.8.8.8:53": false, "nonsense": true, "[fe80::1%1]:80": true} {
		if err := guard.Control("tcp", address, nil); errors.Is(err, guard.ErrRefused) != refused {
			t.Errorf("Control(%q) = %v, want refused = %v", address, err, refused)
		}
	}
}
