"use server";

import { redirect } from "next/navigation";
import { client, companionId } from "@/lib/companion";
import { signedInUser, signIn, signOut } from "@/lib/session";

const MAX_NAME = 60;

/** Signs in by name alone. A real product asks its identity provider here, and takes the id that it answers. */
export async function enter(form: FormData): Promise<void> {
  const name = String(form.get("name") ?? "").trim().slice(0, MAX_NAME);
  if (!/[\p{L}\p{N}]/u.test(name)) redirect("/sign-in");
  await signIn(name);
  redirect("/");
}

export async function leave(): Promise<void> {
  await signOut();
  redirect("/sign-in");
}

/** Forgets whoever is signed in; whether that is done. */
export async function forgetMe(): Promise<boolean> {
  const userId = await signedInUser();
  if (userId === undefined) return false;
  try {
    await client.forgetUser(await companionId(), userId);
    return true;
  } catch (error) {
    console.error(error);
    return false;
  }
}
