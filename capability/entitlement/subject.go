package entitlement

import "fmt"

// Tells says that an entry may change what reports and tables tell: logins, proposals and questions do not.
func (e *Entry) Tells() bool {
	return e.Login == nil && e.SignIn == nil && e.Proposed == nil && e.Question == nil
}

// Subject is what an entry is about: an activation ID, a host; empty where it is about the whole book.
func (e *Entry) Subject() string {
	switch {
	case e.Item != nil:
		return string(e.Item.ActivationID)
	case e.Account != nil:
		return e.Account.Name
	case e.Product != nil:
		return e.Product.Name
	case e.Model != nil:
		return e.Model.Name
	case e.Change != nil && e.Change.Do == Split:
		return string(e.Change.To)
	case e.Change != nil:
		return string(e.Change.ActivationID)
	case e.Device != nil:
		return e.Device.ID.String()
	case e.Map != nil:
		return string(e.Map.ActivationID)
	case e.Order != nil:
		return fmt.Sprint(e.Order.Number)
	case e.Step != nil:
		return fmt.Sprint(e.Step.Number)
	case e.Retire != nil:
		return string(e.Retire.ActivationID)
	case e.WriteOff != nil:
		return string(e.WriteOff.ActivationID)
	case e.Answer != nil:
		return e.Answer.Identity.Host.String()
	case e.Signer != nil:
		return e.Signer.Name
	case e.Limited != nil:
		return e.Limited.Host.String()
	case e.Update != nil:
		return e.Update.Version
	case e.Incident != nil:
		return e.Incident.Host.String()
	case e.User != nil:
		return e.User.User.ID.Name
	case e.Seat != nil:
		return string(e.Seat.Seat.ActivationID)
	case e.Pool != nil:
		return string(e.Pool.ActivationID)
	case e.Session != nil:
		return string(e.Session.ActivationID)
	case e.Convert != nil:
		return string(e.Convert.ActivationID)
	case e.Proposed != nil:
		return e.Proposed.Subject()
	case e.Question != nil:
		return e.Question.Subject()
	case e.Login != nil:
		return e.Login.Login.Name
	case e.SignIn != nil:
		return e.SignIn.Name
	case e.Group != nil:
		return e.Group.Group
	}
	return ""
}
