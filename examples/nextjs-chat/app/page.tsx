import { redirect } from "next/navigation";
import { historyOf } from "@/lib/companion";
import { signedInUser } from "@/lib/session";
import { leave } from "./actions";
import { Chat } from "./chat";

export default async function Page() {
  const userId = await signedInUser();
  if (userId === undefined) redirect("/sign-in");
  const history = await historyOf(userId);
  return (
    <div className="room">
      <header className="bar">
        <span className="avatar" aria-hidden="true">J</span>
        <div className="who">
          <h1>Juno</h1>
          <p>talking with {userId}</p>
        </div>
        <form action={leave}>
          <button className="quiet">Sign out</button>
        </form>
      </header>
      <Chat history={history ?? []} isAway={history === undefined} />
    </div>
  );
}
