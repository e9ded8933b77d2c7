// Package guard keeps a program that fetches addresses given by strangers away
// from the network it runs in: loopback, private, link-local and other special
// addresses, the metadata services of clouds among them.
//
// The check belongs at dial time, on the address that is really connected to: a
// check of the name before leaves time for the name to change its address.
package guard

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// ErrRefused is in the chain of every error that Check and Control return for
// an address that is not public.
var ErrRefused = errors.New("address refused")

var special = []struct {
	prefix netip.Prefix
	why    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by a carrier"},
	{netip.MustParsePrefix("168.63.129.16/32"), "a cloud's own service"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "reserved"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "for documentation"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
}

// global is the only IPv6 range that is given out; exceptions lie inside.
var global = netip.MustParsePrefix("2000::/3")

var special6 = []struct {
	prefix netip.Prefix
	why    string
}{
	{netip.MustParsePrefix("2001::/23"), "reserved"}, // Teredo, ORCHID and others
	{netip.MustParsePrefix("2001:db8::/32"), "for documentation"},
	{netip.MustParsePrefix("3fff::/20"), "for documentation"},
}

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4 = netip.MustParsePrefix("2002::/16")
)

// Check returns an error that wraps ErrRefused and says why, unless a is an
// ordinary public unicast address. IPv4 addresses inside IPv6 ones (mapped,
// 6to4, NAT64) are judged as what they carry.
func Check(a netip.Addr) error {
	if why := reason(a.WithZone("").Unmap()); why != "" {
		return fmt.Errorf("%w: %s is %s", ErrRefused, a, why)
	}
	return nil
}

// Control is for net.Dialer.Control: it refuses to connect to what Check
// refuses.
func Control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is no address", ErrRefused, address)
	}
	return Check(ap.Addr())
}

func reason(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "invalid"
	case a.IsUnspecified():
		return "unspecified"
	case a.IsLoopback():
		return "loopback"
	case a.IsPrivate():
		return "private"
	case a.IsLinkLocalUnicast():
		return "link-local"
	case a.IsMulticast():
		return "multicast"
	}
	if a.Is4() {
		for _, s := range special {
			if s.prefix.Contains(a) {
				return s.why
			}
		}
		return ""
	}
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return reason(netip.AddrFrom4([4]byte(b[12:16])))
	case sixTo4.Contains(a):
		return reason(netip.AddrFrom4([4]byte(b[2:6])))
	case !global.Contains(a):
		return "reserved"
	}
	for _, s := range special6 {
		if s.prefix.Contains(a) {
			return s.why
		}
	}
	return ""
}
