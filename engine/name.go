package engine

import "fmt"

// maxName is how long a name may be.
const maxName = 64

// CheckName holds the rule for names of tasks and queues: letters, digits and
// -_. , 1 to 64. Another name is an error with CodeInvalid; what says whose it is.
func CheckName(what, name string) error {
	if name == "" || len(name) > maxName {
		return &Error{Code: CodeInvalid, Err: fmt.Errorf("%s name %q: want 1 to %d characters", what, name, maxName)}
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return &Error{Code: CodeInvalid, Err: fmt.Errorf("%s name %q: want letters, digits and -_. only", what, name)}
		}
	}
	return nil
}
