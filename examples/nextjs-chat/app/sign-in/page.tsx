import { enter } from "../actions";

export default function SignIn() {
  return (
    <main className="door">
      <span className="avatar large" aria-hidden="true">J</span>
      <h1>Juno remembers you</h1>
      <p>Say who you are. What you tell her stays between the two of you.</p>
      <form action={enter}>
        <label htmlFor="name">Your name</label>
        <input id="name" name="name" required maxLength={60} autoComplete="nickname" autoFocus />
        <button>Come in</button>
      </form>
    </main>
  );
}
