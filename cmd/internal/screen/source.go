package screen

import "context"

// Source is what the console asks and has done. Each function may take a while; none is called while another one of the same console runs, but Look.
type Source struct {
	Look    func(context.Context) *State
	First   func() *State                  // what is known before anybody was asked
	Log     func(context.Context) []string // the newest last
	Seats   func(context.Context) []string
	Request func(context.Context) (number uint64, file []byte, err error)
	// Allow lets sticks in for a while, where media-mode is confirm.
	Allow func(context.Context) error
	// Password gives a login another password. Who asks knows the one that it has.
	Password func(ctx context.Context, login, current, anew string) error
	// Network gives a card an address and a gateway as they were typed, or none, which has the network asked, and says what was done. Whoever asks signs in with login and password, unless nobody can yet, or now.
	// Nil: the network cards are set up by other means.
	Network func(ctx context.Context, login, password, card, address, gateway string) (string, error)
	// Power restarts the machine, or switches it off; why is logged.
	Power func(ctx context.Context, what Power, why string) error
	// Say is an error as it is shown: code, cause and next step.
	Say func(error) []string
}

// Power is what is done with the machine.
type Power string

// The two.
const (
	Restart Power = "restart"
	Off     Power = "off"
)
